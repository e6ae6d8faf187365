//! The listener against clients that behave and clients that do not.

use super::*;
use axum::routing::{get, post};
use std::future::pending;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(10);

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    server: JoinHandle<Result<(), crate::BoxError>>,
}

async fn start(router: Router, limits: ServerLimits) -> Running {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let server = tokio::spawn(serve("test", listener, router, limits, &shutdown, Phase::StopIntake));
    Running { address, shutdown, server }
}

fn greeting() -> Router {
    Router::new().route("/", get(async || "hello"))
}

/// Reads until the other side closes.
async fn read_to_close(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("closed in time");
    // A reset is a close, too.
    let _ = read;
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn ask(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    read_to_close(&mut stream).await
}

#[tokio::test]
async fn a_silent_connection_and_a_dripping_head_are_closed_at_the_header_timeout() {
    let limits = ServerLimits { header_timeout: Duration::from_millis(50), ..ServerLimits::default() };
    let running = start(greeting(), limits).await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    let mut slow = TcpStream::connect(running.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nX-Drip: ").await.unwrap();
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(!read_to_close(&mut silent).await.contains("200 OK"));
    assert!(!read_to_close(&mut slow).await.contains("200 OK"));
    assert!(read_to_close(&mut idle).await.contains("hello"));
    assert!(ask(running.address).await.contains("hello"));
}

#[tokio::test]
async fn idle_sockets_up_to_the_limit_do_not_keep_a_good_client_out() {
    let limits = ServerLimits { connections_max: 8, ..ServerLimits::default() };
    let running = start(greeting(), limits).await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
        idle.push(stream);
    }
    assert!(ask(running.address).await.contains("hello"));
    assert_eq!(read_to_close(&mut idle[0]).await, "");
}

#[tokio::test]
async fn when_all_are_being_served_a_further_connection_is_closed_and_none_is_cut() {
    let (release, released) = tokio::sync::watch::channel(false);
    let router = Router::new().route(
        "/",
        get(async move || {
            let mut released = released.clone();
            let _ = released.wait_for(|now| *now).await;
            "late"
        }),
    );
    let running = start(router, ServerLimits { connections_max: 1, ..ServerLimits::default() }).await;
    let mut first = TcpStream::connect(running.address).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    // Until the first is being served a newcomer would take its place, so that only its refusal shows it is.
    let refused = tokio::time::timeout(PATIENCE, async {
        release.closed_or_waiting().await;
        ask(running.address).await
    });
    assert_eq!(refused.await.unwrap(), "");
    release.send_replace(true);
    assert!(read_to_close(&mut first).await.contains("late"));
}

/// Waits until a handler holds a receiver besides the router's own.
trait Waiting {
    async fn closed_or_waiting(&self);
}

impl Waiting for tokio::sync::watch::Sender<bool> {
    async fn closed_or_waiting(&self) {
        while self.receiver_count() < 2 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_handler_that_does_not_answer_is_given_up() {
    let router = Router::new().route("/", get(async || pending::<&'static str>().await));
    let limits = ServerLimits { request_timeout: Duration::from_millis(20), ..ServerLimits::default() };
    let running = start(router, limits).await;
    let answer = ask(running.address).await;
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("urn:highwater:problem:timeout"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_handler_that_panics_loses_its_own_connection_only() {
    let router = greeting().route("/bug", get(async || -> &'static str { panic!("on purpose") }));
    let running = start(router, ServerLimits::default()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /bug HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(read_to_close(&mut stream).await, "");
    assert!(ask(running.address).await.contains("hello"));
    running.shutdown.begin("asked");
    tokio::time::timeout(PATIENCE, running.server).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_head_beyond_its_limit_is_refused() {
    let limits = ServerLimits { head_bytes_max: 8 << 10, ..ServerLimits::default() };
    let running = start(greeting(), limits).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let _ = stream.write_all(head.as_bytes()).await;
    assert!(!read_to_close(&mut stream).await.contains("200 OK"));
}

#[tokio::test]
async fn a_stop_answers_what_is_in_progress_then_ends_the_phase() {
    let (entered, enters) = oneshot::channel::<()>();
    let (release, released) = oneshot::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(Some((entered, released))));
    let router = Router::new().route(
        "/",
        post(async move |body: String| {
            let taken = gate.lock().unwrap().take();
            if let Some((entered, released)) = taken {
                entered.send(()).unwrap();
                let _ = released.await;
            }
            body
        }),
    );
    let running = start(router, ServerLimits::default()).await;
    let url = format!("http://{}/", running.address);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = tokio::spawn(async move { client.post(url).body("kept").send().await?.text().await });
    enters.await.unwrap();
    running.shutdown.begin("asked");
    assert_eq!(running.shutdown.phase(), Phase::StopIntake);
    release.send(()).unwrap();
    assert_eq!(request.await.unwrap().unwrap(), "kept");
    tokio::time::timeout(PATIENCE, running.server).await.unwrap().unwrap().unwrap();
    assert_eq!(running.shutdown.phase(), Phase::Closed);
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn a_drain_that_does_not_end_is_cut() {
    let (entered, enters) = tokio::sync::watch::channel(false);
    let router = Router::new().route(
        "/",
        get(async move || {
            entered.send_replace(true);
            pending::<&'static str>().await
        }),
    );
    let running =
        start(router, ServerLimits { drain_max: Duration::from_millis(20), ..ServerLimits::default() }).await;
    let mut stuck = TcpStream::connect(running.address).await.unwrap();
    stuck.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut enters = enters;
    enters.wait_for(|now| *now).await.unwrap();
    running.shutdown.begin("asked");
    tokio::time::timeout(PATIENCE, running.server).await.unwrap().unwrap().unwrap();
    assert_eq!(read_to_close(&mut stuck).await, "");
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_time() {
    use crate::body::{BodyError, read};
    let read_small = |body: Body| read(body, 4, PATIENCE);
    assert_eq!(read_small(Body::from("four")).await, Ok(b"four".to_vec()));
    assert_eq!(read_small(Body::from("fives")).await, Err(BodyError::TooLarge { bytes_max: 4 }));
    // Without an announced length.
    let chunks = futures_like(&["ab", "cd", "e"]);
    assert_eq!(read_small(chunks).await, Err(BodyError::TooLarge { bytes_max: 4 }));
    let never = Body::new(Never);
    let max_wait = Duration::from_millis(10);
    assert_eq!(read(never, 4, max_wait).await, Err(BodyError::TooSlow { max_wait }));
}

struct Never;

impl axum::body::HttpBody for Never {
    type Data = axum::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Infallible>>> {
        std::task::Poll::Pending
    }
}

struct Chunks(std::collections::VecDeque<&'static str>);

fn futures_like(chunks: &[&'static str]) -> Body {
    Body::new(Chunks(chunks.iter().copied().collect()))
}

impl axum::body::HttpBody for Chunks {
    type Data = axum::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Infallible>>> {
        let next = self.0.pop_front().map(|text| Ok(hyper::body::Frame::data(text.into())));
        std::task::Poll::Ready(next)
    }
}
