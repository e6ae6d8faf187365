//! CQL as it is on the wire, as much as a test needs to make roles and give them rights: log in, send statements.
//!
//! Does not live here: reading rows. Nothing here is the program's own way to the store.

use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Bound of one answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Bytes of an answer at most.
const BODY_MAX: u32 = 1 << 20;

const STARTUP: u8 = 1;
const QUERY: u8 = 7;
const AUTH_RESPONSE: u8 = 15;
const ERROR: u8 = 0;
const READY: u8 = 2;
const AUTHENTICATE: u8 = 3;

/// A connection that is logged in.
#[derive(Debug)]
pub struct CqlConnection(TcpStream);

impl CqlConnection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// When nobody answers, or the login is refused.
    pub fn open(address: &str, user: &str, password: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_read_timeout(Some(ANSWER_MAX)).context("bounding the answers")?;
        let mut connection = Self(stream);
        // A map of one pair of strings.
        let mut hello = 1_u16.to_be_bytes().to_vec();
        for text in ["CQL_VERSION", "3.0.0"] {
            hello.extend(u16::try_from(text.len())?.to_be_bytes());
            hello.extend(text.as_bytes());
        }
        if connection.ask(STARTUP, &hello)? == AUTHENTICATE {
            let login = format!("\0{user}\0{password}");
            let mut token = i32::try_from(login.len())?.to_be_bytes().to_vec();
            token.extend(login.as_bytes());
            connection.ask(AUTH_RESPONSE, &token)?;
        }
        Ok(connection)
    }

    /// Sends statements, one after the other, each ended by a semicolon.
    ///
    /// # Errors
    /// What the server said of the first that it did not take.
    pub fn send(&mut self, statements: &str) -> Result<()> {
        for statement in statements.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            let mut body = i32::try_from(statement.len())?.to_be_bytes().to_vec();
            body.extend(statement.as_bytes());
            // Consistency ONE, no flags.
            body.extend([0, 1, 0]);
            self.ask(QUERY, &body).with_context(|| statement.to_owned())?;
        }
        Ok(())
    }

    /// One request; the answer's kind.
    fn ask(&mut self, opcode: u8, body: &[u8]) -> Result<u8> {
        let mut frame = vec![4, 0, 0, 0, opcode];
        frame.extend(u32::try_from(body.len())?.to_be_bytes());
        frame.extend(body);
        self.0.write_all(&frame).context("asking")?;
        let mut head = [0; 9];
        self.0.read_exact(&mut head).context("waiting for the answer")?;
        let [.., kind, a, b, c, d] = head;
        let length = u32::from_be_bytes([a, b, c, d]);
        ensure!(length <= BODY_MAX, "an answer of {length} bytes");
        let mut answer = vec![0; usize::try_from(length)?];
        self.0.read_exact(&mut answer).context("reading the answer")?;
        if kind == ERROR {
            // A code and a string.
            bail!("{}", String::from_utf8_lossy(answer.get(6..).unwrap_or_default()));
        }
        ensure!(kind >= READY, "an answer of kind {kind}");
        Ok(kind)
    }
}
