//! One suite, every backend: what `fairlane_net::backend` promises (B1 to B8), run over io_uring and over mio;
//! with the feature `xdp` its datagrams also come through AF_XDP, watched by each of the two.
//!
//! The order of events (B1) and dead ids (B2) are checked by `host` on every event of every test. Where io_uring is
//! refused its tests say so on stderr, past the capture of the test harness, and pass.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

use std::io::Write;

use fairlane_net::backend::{Backend, BackendChoice, BackendConfig, BackendKind, open, probe};

mod closing;
mod connecting;
mod datagrams;
mod host;
mod load;
#[cfg(feature = "xdp")]
#[path = "../support/own_network.rs"]
mod own_network;
mod streams;
mod trains;
mod waking;
#[cfg(feature = "xdp")]
mod xdp;

/// Builds the backend under test.
type Open = fn(BackendConfig) -> Box<dyn Backend>;

fn open_uring(config: BackendConfig) -> Box<dyn Backend> {
    open(BackendKind::Uring, config).expect("the probe said that io_uring works")
}

fn open_mio(config: BackendConfig) -> Box<dyn Backend> {
    open(BackendKind::Mio, config).expect("epoll is everywhere")
}

/// Whether io_uring can be tested here; says why not where nobody can overlook it.
fn has_uring(test: &str) -> bool {
    match probe(BackendChoice::Uring) {
        Ok(_) => true,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "SKIPPED uring::{test}: {error}");
            false
        }
    }
}

macro_rules! suite {
    ($($module:ident :: $test:ident),* $(,)?) => {
        mod uring {
            $(#[test]
            fn $test() {
                if crate::has_uring(stringify!($test)) {
                    crate::$module::$test(crate::open_uring);
                }
            })*
        }
        mod mio {
            $(#[test]
            fn $test() {
                crate::$module::$test(crate::open_mio);
            })*
        }
    };
}

suite! {
    streams::echo_returns_the_same_bytes,
    streams::frames_split_and_merged_arrive_as_sent,
    streams::a_burst_then_silence_arrives_whole,
    streams::bytes_before_the_fin_all_arrive,
    streams::many_small_sends_keep_their_order,
    streams::a_slow_reader_is_refused_at_the_bound_and_gets_every_byte,
    streams::one_send_above_the_bound_is_refused_whole,
    connecting::a_connection_between_two_backends_works_both_ways,
    connecting::bytes_queued_before_connected_are_delivered,
    connecting::a_refused_connect_is_a_failed_connect,
    connecting::a_connect_without_an_answer_times_out,
    connecting::closing_while_connecting_ends_it,
    connecting::a_listener_at_its_limit_closes_the_next_and_leaves_others_alone,
    connecting::a_taken_port_is_an_error,
    closing::close_delivers_what_was_queued,
    closing::close_of_a_peer_that_never_reads_ends_after_linger,
    closing::nothing_is_received_after_close,
    closing::abort_resets,
    closing::a_peers_reset_is_a_reset,
    closing::a_half_close_gets_what_was_queued_and_is_closed,
    closing::an_old_id_does_not_touch_the_new_connection,
    closing::dropping_a_backend_in_full_flight_closes_everything,
    load::two_hundred_connections_at_once,
    load::a_storm_of_five_hundred_reconnects,
    load::receive_buffers_may_run_out,
    load::rings_of_a_few_entries_lose_nothing,
    load::random_sends_closes_and_aborts_keep_the_promises,
    waking::a_wake_ends_a_parked_poll,
    waking::a_wake_before_the_poll_is_not_lost,
    waking::every_handover_from_another_thread_is_seen,
    waking::an_idle_poll_sleeps,
    waking::a_connected_but_silent_poll_sleeps,
    datagrams::datagrams_come_whole_with_their_sender_and_in_order,
    datagrams::an_empty_datagram_is_one_and_others_follow,
    datagrams::a_longer_one_than_the_bound_is_counted_and_not_handed_out,
    datagrams::buffers_for_datagrams_may_run_out,
    datagrams::what_the_kernel_drops_is_counted,
    datagrams::an_unreachable_port_does_not_end_the_socket,
    datagrams::what_the_kernel_refuses_is_counted_and_the_rest_leaves,
    datagrams::a_full_queue_refuses_and_takes_again,
    datagrams::ipv6_works_as_ipv4,
    datagrams::sockets_and_connections_share_a_poll,
    datagrams::a_datagram_ends_a_parked_poll_and_a_silent_socket_sleeps,
    datagrams::dropping_a_backend_with_datagrams_in_flight_frees_the_port,
    trains::a_train_is_handed_out_as_its_datagrams,
    trains::those_of_a_train_above_the_bound_are_counted_and_the_others_come,
    trains::trains_of_several_senders_do_not_mix,
}
