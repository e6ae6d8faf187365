//! A small HTTP server on a free port of this machine: notes what it is asked, answers what it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// `GET /path?query`.
    pub(crate) line: String,
    /// Header fields, names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// Body.
    pub(crate) body: String,
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Status and body.
    Says(u16, String),
    /// A redirection.
    Leads(u16, String),
    /// Says nothing, and keeps the connection.
    Silent,
    /// Closes the connection without a word.
    Closes,
}

/// 200 with a body.
pub(crate) fn says(body: &str) -> Answer {
    Answer::Says(200, body.to_owned())
}

/// An error as registries write it.
pub(crate) fn error(status: u16, code: u32, message: &str) -> Answer {
    Answer::Says(status, serde_json::json!({ "error_code": code, "message": message }).to_string())
}

type Behaviour = Box<dyn FnMut(&Asked) -> Answer + Send>;

#[derive(Default)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    /// Connections that nothing is said on.
    kept: Mutex<Vec<TcpStream>>,
    over: Mutex<bool>,
}

/// The server; gone when dropped.
pub(crate) struct Fake {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fake {
    pub(crate) fn new(behaviour: impl FnMut(&Asked) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let inside = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(&listener, &inside, Box::new(behaviour)));
        Self { address, shared, thread: Some(thread) }
    }

    /// Always the same answer.
    pub(crate) fn saying(answer: Answer) -> Self {
        Self::new(move |_| answer.clone())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        locked(&self.shared.asked).clone()
    }

    /// Their first lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// Nobody listens there any more.
    pub(crate) fn stop(&mut self) {
        *locked(&self.shared.over) = true;
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server's own tests");
        }
        for stream in locked(&self.shared.kept).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

fn serve(listener: &TcpListener, shared: &Shared, mut behaviour: Behaviour) {
    for stream in listener.incoming() {
        if *locked(&shared.over) {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        let Some(asked) = read(&stream) else { continue };
        locked(&shared.asked).push(asked.clone());
        let (status, location, body) = match behaviour(&asked) {
            Answer::Says(status, body) => (status, String::new(), body),
            Answer::Leads(status, to) => (status, format!("location: {to}\r\n"), String::new()),
            Answer::Silent => {
                locked(&shared.kept).push(stream);
                continue;
            }
            Answer::Closes => continue,
        };
        // One request a connection: a server that has gone is noticed at once.
        let head = format!(
            "HTTP/1.1 {status} X\r\n{location}content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (line, _) = line.trim_end().rsplit_once(' ')?;
    let mut asked = Asked { line: line.to_owned(), ..Asked::default() };
    loop {
        let mut field = String::new();
        reader.read_line(&mut field).ok()?;
        let Some((name, value)) = field.trim_end().split_once(':') else { break };
        asked.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = asked.headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8(body).ok()?;
    Some(asked)
}

/// A port where nobody listens.
pub(crate) fn dead_url() -> String {
    let mut fake = Fake::saying(Answer::Closes);
    fake.stop();
    fake.url()
}
