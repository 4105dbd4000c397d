//! What a running node tells whoever watches it, over HTTP: figures for Prometheus, and whether it is well.
//!
//! `GET /metrics` gives the figures as OpenMetrics text, `GET /healthz` status 200 or 503 with reasons as JSON, `GET /report`
//! the report that the node writes when it stops, as of now. Nothing is changed by a request, and nothing secret is told; who may
//! ask is whoever reaches the address, which is off unless configured.
//!
//! One thread of its own, asleep unless asked; it reads what the stages publish and is never waited for by any of them. At most
//! [`WATCHERS_MAX`] connections, a request's head within [`HEAD_LEN_MAX`] bytes and [`HEAD_TIME_MAX`].

mod health;
mod metrics;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use crate::node::Figures;
use crate::stage::clock;

/// Connections of watchers at a time; further ones wait.
const WATCHERS_MAX: usize = 16;
/// Bytes of a request's head.
const HEAD_LEN_MAX: usize = 8 << 10;
/// How long a watcher may take to send a request's head.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a connection may last, whatever it does.
const WATCH_TIME_MAX: Duration = Duration::from_secs(60);

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct Control {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Control {
    /// Serves `figures` on `address`. Errors: one sentence, the address cannot be listened on.
    pub(crate) fn start(address: SocketAddr, figures: Figures) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = runtime
            .block_on(TcpListener::bind(address))
            .map_err(|error| {
                anyhow::anyhow!(
                    "cannot listen on the metrics address {address}: {error}; free the port or choose another"
                )
            })?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                runtime.spawn(serve(listener, figures));
                // An error: the sender is gone, and that is how it stops. What is still served ends with the runtime.
                let _ = runtime.block_on(stopped);
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed; the node does not depend on it.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, figures: Figures) {
    let room = Arc::new(Semaphore::new(WATCHERS_MAX));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptor is free, say: there may be one soon.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let figures = figures.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let response = respond(&request, &figures);
                async { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME_MAX)
                .max_buf_size(HEAD_LEN_MAX)
                .serve_connection(TokioIo::new(stream), answer);
            // How a watcher fails is its own matter.
            let _ = tokio::time::timeout(WATCH_TIME_MAX, connection).await;
            drop(place);
        });
    }
}

fn respond(request: &Request<Incoming>, figures: &Figures) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET".into());
        let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, metrics::CONTENT, metrics::encode(figures)),
        "/healthz" => {
            let health = health::judge(&figures.core(), clock());
            let status = match health.ok {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            json(status, &health)
        }
        "/report" => json(StatusCode::OK, &figures.report()),
        _ => {
            let what = "there are /metrics, /healthz and /report";
            text(StatusCode::NOT_FOUND, PLAIN, what.into())
        }
    }
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string_pretty(value) {
        Ok(body) => text(status, "application/json", body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, error.to_string()),
    }
}

fn text(status: StatusCode, kind: &'static str, mut body: String) -> Response<Full<Bytes>> {
    if !body.ends_with('\n') {
        body.push('\n');
    }
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

const PLAIN: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests;
