//! A worker for as long as it is wanted: over and over beside a node that may go away and come back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::worker::run_with;
use super::{SettleConfig, SettleError, SettleReport, Sink};

/// What happens to a worker that [`serve`] runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// The node has handed over its ring.
    Attached,
    /// The connection ended, with this done.
    Ended(&'a SettleReport),
    /// The node is away, or its seats are taken; said once for each reason.
    Waiting(&'a SettleError),
}

/// Settles into `sink` until `stop` is set. A node that was there once and goes away is waited for, as is a seat at it.
///
/// Errors: the node refuses the worker, is not there at the start, or tells what does not hold; or the sink's own.
pub fn serve(
    config: &SettleConfig,
    sink: &mut impl Sink,
    stop: &AtomicBool,
    mut on_event: impl FnMut(Event<'_>),
) -> Result<(), SettleError> {
    let (mut was_attached, mut said) = (false, String::new());
    while !stop.load(Ordering::Acquire) {
        let ran = run_with(config, sink, stop, || {
            was_attached = true;
            on_event(Event::Attached);
        });
        match ran {
            Ok(report) => on_event(Event::Ended(&report)),
            // A node that was there once may be starting again.
            Err(error) if was_attached && error.is_of_connection() => {
                let says = error.to_string();
                if says != said {
                    on_event(Event::Waiting(&error));
                    said = says;
                }
            }
            Err(error) => return Err(error),
        }
        std::thread::sleep(RECONNECT_AFTER);
    }
    Ok(())
}

/// Pause before it is looked whether the node is back.
const RECONNECT_AFTER: Duration = Duration::from_millis(50);

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
