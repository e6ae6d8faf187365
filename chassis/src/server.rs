//! Every HTTP listener of ours: bounded connections, bounded times, and a drain that ends.
//!
//! HTTP/1.1 only: HTTP/2 has had one abuse after another (rapid reset, continuation floods, empty frames), and a
//! device or a proxy in front of us loses nothing without it.
//!
//! Invariants:
//! * A connection that has not sent a whole request head within `header_timeout` is closed, from its first byte on
//!   and also between requests. (`axum::serve` and hyper without a timer do neither.)
//! * At `connections_max` a new connection takes the place of the one that has waited longest without a request,
//!   those that never sent one first: idle sockets cannot keep a good client out.
//! * After the stop, requests in progress are answered; what is left after `drain_max` is cut.

mod connections;

#[cfg(test)]
mod tests;

use crate::metrics as names;
use crate::problem::Problem;
use crate::shutdown::{Phase, Shutdown};
use crate::telemetry::Throttle;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use connections::{Connection, Connections, Guarded};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};

/// Limits of a listener. `unlimited` is not a value.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Open connections.
    pub connections_max: usize,
    /// For a whole request head; also the time a connection may stay idle.
    pub header_timeout: Duration,
    /// From a request's head to its answer's head, its body included. Streams answer at once and go on.
    pub request_timeout: Duration,
    /// Bytes of a request head.
    pub head_bytes_max: usize,
    /// For requests in progress when the stop comes.
    pub drain_max: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            // Below the 1,024 descriptors that a process gets by default, with room for files.
            connections_max: 768,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            head_bytes_max: 32 << 10,
            drain_max: Duration::from_secs(10),
        }
    }
}

/// Opens a port. Port 0: any free one; ask the listener for its address.
///
/// # Errors
/// The system's, with the address in it.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

/// Serves until `until` is reached, then drains. That phase does not end before the drain has. `name` is the label
/// of the listener's metrics.
///
/// # Errors
/// Never in operation: a failing accept is logged and tried again.
pub fn serve(
    name: &'static str,
    listener: TcpListener,
    router: Router,
    limits: ServerLimits,
    shutdown: &Shutdown,
    until: Phase,
) -> impl Future<Output = Result<(), crate::BoxError>> + Send + 'static {
    let hold = shutdown.hold(until, format!("listener {name}"));
    let server = Arc::new(Server {
        name,
        limits,
        service: TowerToHyperService::new(crate::problem::with_fallbacks(router)),
        connections: Connections::new(limits.connections_max),
        shutdown: shutdown.clone(),
        until,
        quiet: Throttle::new(10_000),
    });
    async move {
        server.run(listener).await;
        drop(hold);
        Ok(())
    }
}

/// Answers one request without a port.
pub async fn answer(router: Router, request: Request<Body>) -> Response<Body> {
    let service = TowerToHyperService::new(crate::problem::with_fallbacks(router));
    match service.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

struct Server {
    name: &'static str,
    limits: ServerLimits,
    service: TowerToHyperService<Router>,
    connections: Connections,
    shutdown: Shutdown,
    until: Phase,
    quiet: Throttle,
}

impl Server {
    async fn run(self: Arc<Self>, listener: TcpListener) {
        let mut tasks = JoinSet::new();
        let mut stop = pin!(self.shutdown.reached(self.until));
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(ended) = tasks.join_next() => self.ended(ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(&mut tasks, stream, peer),
                    Err(error) => self.accept_failed(&error).await,
                },
            }
        }
        drop(listener);
        let drained = tokio::time::timeout(self.limits.drain_max, async {
            while let Some(ended) = tasks.join_next().await {
                self.ended(ended);
            }
        });
        if drained.await.is_err() {
            metrics::counter!(names::HTTP_CONNECTIONS_CLOSED_TOTAL, "listener" => self.name, "reason" => "aborted")
                .increment(tasks.len() as u64);
            tracing::warn!(
                listener = self.name,
                connections = tasks.len(),
                "cut connections that did not end"
            );
            tasks.shutdown().await;
        }
        metrics::gauge!(names::HTTP_CONNECTIONS, "listener" => self.name).set(0.0);
    }

    fn admit(self: &Arc<Self>, tasks: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr) {
        match self.connections.enter() {
            Ok((connection, evicted)) => {
                if evicted {
                    self.count_closed("evicted");
                }
                metrics::gauge!(names::HTTP_CONNECTIONS, "listener" => self.name)
                    .set(self.connections.len() as f64);
                tasks.spawn(Arc::clone(self).connection(stream, peer, connection));
            }
            // Everybody in here is being served.
            Err(connections::Full) => self.count_closed("full"),
        }
    }

    /// Out of descriptors, or the peer was gone before we looked: neither may end or spin the loop.
    async fn accept_failed(&self, error: &io::Error) {
        const PAUSE: Duration = Duration::from_millis(50);
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        if self.connections.evict() {
            self.count_closed("evicted");
        }
        if self.quiet.allow(crate::clock::Clock::system().now()).is_some() {
            tracing::error!(listener = self.name, %error, "cannot accept a connection");
        }
        tokio::time::sleep(PAUSE).await;
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, connection: Connection) {
        // Answers are small and written at once.
        let _ = stream.set_nodelay(true);
        let closed = {
            let mut serving = pin!(self.serving(stream, peer, &connection));
            tokio::select! {
                ended = &mut serving => ended,
                () = connection.evicted() => Ok(()),
            }
        };
        if closed.is_err_and(|error| error.is_timeout()) {
            self.count_closed("slow-headers");
        }
        drop(connection);
        metrics::gauge!(names::HTTP_CONNECTIONS, "listener" => self.name).set(self.connections.len() as f64);
    }

    async fn serving(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        connection: &Connection,
    ) -> hyper::Result<()> {
        let service = service_fn(|request: Request<Incoming>| self.answer(request, peer, connection));
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(self.limits.head_bytes_max);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = self.shutdown.reached(self.until) => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        connection: &Connection,
    ) -> Result<Response<Body>, Infallible> {
        let busy = connection.busy();
        let began = Instant::now();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answering = tokio::time::timeout(self.limits.request_timeout, self.service.call(request));
        let response = match answering.await {
            Ok(Ok(response)) => response,
            Err(_) => {
                let detail = format!("no answer within {:?}", self.limits.request_timeout);
                Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "Too slow", detail).into_response()
            }
        };
        let code = response.status().as_u16().to_string();
        metrics::counter!(names::HTTP_REQUESTS_TOTAL, "listener" => self.name, "code" => code).increment(1);
        metrics::histogram!(names::HTTP_REQUEST_SECONDS, "listener" => self.name)
            .record(began.elapsed().as_secs_f64());
        Ok(response.map(|body| Body::new(Guarded::new(body, busy))))
    }

    /// A request that makes us panic is a bug, and loses its own connection only: were it to end the service, whoever
    /// knows it could keep the service down.
    fn ended(&self, ended: Result<(), JoinError>) {
        if ended.is_err_and(|error| error.is_panic()) {
            self.count_closed("panicked");
        }
    }

    fn count_closed(&self, reason: &'static str) {
        metrics::counter!(names::HTTP_CONNECTIONS_CLOSED_TOTAL, "listener" => self.name, "reason" => reason)
            .increment(1);
    }
}
