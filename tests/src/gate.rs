//! A gate between one process and Kafka: a test stops a request, or its answer, at the moment it names, and decides
//! what becomes of it.
//!
//! The broker tells whoever comes through its `gated` listener to find it at the gate's address (`tests/stack/kafka`),
//! so every connection of that process passes here. Of a request only the length, the kind and the number that its
//! answer repeats are read; the rest is copied.
//!
//! Invariants:
//! * What is not asked for passes untouched and in order.
//! * What is held goes on only by the test's word: passed, or the connection is cut.

use crate::wait::{WAIT_MAX, eventually};
use anyhow::{Context, Result, anyhow};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// A longer request is not Kafka's.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// Kinds of requests, by Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Api {
    /// Records are written.
    Produce = 0,
    /// A group's positions, without a transaction.
    OffsetCommit = 8,
    /// A partition joins the transaction: the broker knows that it is open.
    AddPartitionsToTxn = 24,
    /// The group's positions join it.
    AddOffsetsToTxn = 25,
    /// It is committed or aborted.
    EndTxn = 26,
    /// The positions themselves, pending.
    TxnOffsetCommit = 28,
}

/// A moment in the talk of a process with Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    api: Api,
    about: &'static str,
    answered: bool,
}

impl Moment {
    /// Just before the broker gets such a request.
    #[must_use]
    pub const fn before(api: Api) -> Self {
        Self { api, about: "", answered: false }
    }

    /// The broker has done it, and the process does not know yet.
    #[must_use]
    pub const fn after(api: Api) -> Self {
        Self { api, about: "", answered: true }
    }

    /// Only a request that names this, such as a topic.
    #[must_use]
    pub const fn about(mut self, text: &'static str) -> Self {
        self.about = text;
        self
    }

    fn is(&self, frame: &[u8]) -> bool {
        let kind = frame.get(4..6).is_some_and(|kind| kind == (self.api as u16).to_be_bytes());
        let named = || frame.windows(self.about.len()).any(|bytes| bytes == self.about.as_bytes());
        kind && (self.about.is_empty() || named())
    }
}

/// Passes: true. The connection is cut: false, or nothing at all.
type Verdict = oneshot::Sender<bool>;

/// What a test waits for.
#[derive(Debug)]
struct Order {
    moment: Moment,
    reached: oneshot::Sender<Verdict>,
}

impl Order {
    /// Tells the test and waits for its word; nobody listens any more: pass.
    async fn decided(self) -> bool {
        let (say, said) = oneshot::channel();
        match self.reached.send(say) {
            Ok(()) => said.await.unwrap_or(false),
            Err(_) => true,
        }
    }
}

type Orders = Arc<Mutex<Vec<Order>>>;

/// An open gate; closed when dropped.
#[derive(Debug)]
pub struct Gate {
    address: String,
    orders: Orders,
    forwarding: JoinHandle<()>,
}

/// A request or an answer that waits at the gate. Dropped, the connection is cut.
#[derive(Debug)]
#[must_use]
pub struct Held(Verdict);

impl Held {
    /// Lets it go on.
    pub fn pass(self) {
        // A connection that has ended meanwhile needs no word.
        let _ = self.0.send(true);
    }

    /// Cuts the connection: neither it nor anything after it arrives.
    pub fn cut(self) {
        let _ = self.0.send(false);
    }
}

/// A moment that was asked for.
#[derive(Debug)]
#[must_use]
pub struct Awaited {
    moment: Moment,
    reached: oneshot::Receiver<Verdict>,
}

impl Awaited {
    /// Waits until it has come.
    ///
    /// # Errors
    /// When it does not come in time.
    pub async fn reached(self) -> Result<Held> {
        let come = tokio::time::timeout(WAIT_MAX, self.reached).await;
        let verdict = come.map_err(|_| anyhow!("{:?} has not come within {WAIT_MAX:?}", self.moment))?;
        Ok(Held(verdict.context("the gate is closed")?))
    }
}

impl Gate {
    /// Listens at one address and forwards to another.
    ///
    /// # Errors
    /// When the address is taken and not given back: the gate of an earlier test may still be closing.
    pub async fn open(listen: &str, to: &str) -> Result<Self> {
        let listener =
            eventually("a gate can be opened", WAIT_MAX, async || Ok(TcpListener::bind(listen).await?))
                .await?;
        let orders = Orders::default();
        let (shared, to) = (Arc::clone(&orders), to.to_owned());
        let forwarding = tokio::spawn(async move {
            // Dropped with this task, and its connections with it.
            let mut connections = JoinSet::new();
            while let Ok((from, _)) = listener.accept().await {
                let (orders, to) = (Arc::clone(&shared), to.clone());
                connections.spawn(async move {
                    // A broker that is away is seen as a connection that ends.
                    if let Ok(broker) = TcpStream::connect(to).await {
                        connection(from, broker, &orders).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address: listen.to_owned(), orders, forwarding })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks for the next such moment; it is held there.
    pub fn hold(&self, moment: Moment) -> Awaited {
        let (reached, awaited) = oneshot::channel();
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push(Order { moment, reached });
        Awaited { moment, reached: awaited }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

/// The order that a request is the moment of.
fn ordered(orders: &Orders, frame: &[u8]) -> Option<Order> {
    let mut orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
    orders.retain(|order| !order.reached.is_closed());
    let found = orders.iter().position(|order| order.moment.is(frame))?;
    Some(orders.remove(found))
}

/// Answers that are waited for, by the number that they repeat.
type Numbers = Mutex<BTreeMap<[u8; 4], Order>>;

/// Copies both ways until one side ends or the test cuts it.
async fn connection(from: TcpStream, broker: TcpStream, orders: &Orders) {
    let (from_read, from_write) = from.into_split();
    let (broker_read, broker_write) = broker.into_split();
    let numbers = Numbers::default();
    tokio::select! {
        _ = requests(from_read, broker_write, orders, &numbers) => {}
        _ = answers(broker_read, from_write, &numbers) => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    orders: &Orders,
    numbers: &Numbers,
) -> Option<()> {
    loop {
        let frame = frame(&mut from).await?;
        if let Some(order) = ordered(orders, &frame) {
            if order.moment.answered {
                let number = frame.get(8..12)?.try_into().ok()?;
                numbers.lock().unwrap_or_else(PoisonError::into_inner).insert(number, order);
            } else if !order.decided().await {
                return None;
            }
        }
        to.write_all(&frame).await.ok()?;
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, numbers: &Numbers) -> Option<()> {
    loop {
        let frame = frame(&mut from).await?;
        let number: [u8; 4] = frame.get(4..8)?.try_into().ok()?;
        let order = numbers.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let Some(order) = order
            && !order.decided().await
        {
            return None;
        }
        to.write_all(&frame).await.ok()?;
    }
}

/// One request or answer with its length; none: the connection has ended.
async fn frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await.ok()?;
    let bytes = usize::try_from(u32::from_be_bytes(length)).ok().filter(|bytes| *bytes <= FRAME_BYTES_MAX)?;
    let mut frame = vec![0; 4 + bytes];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request: kind, version, number, text.
    fn request(api: Api, number: u8, text: &str) -> Vec<u8> {
        let mut frame = vec![0, 0, 0, u8::try_from(8 + text.len()).unwrap()];
        frame.extend((api as u16).to_be_bytes());
        frame.extend([0, 3, 0, 0, 0, number]);
        frame.extend(text.as_bytes());
        frame
    }

    /// Answers every request with its number and nothing else.
    async fn broker() -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answering = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut read, mut write) = stream.into_split();
                tokio::spawn(async move {
                    while let Some(asked) = frame(&mut read).await {
                        let answer = [&[0, 0, 0, 4], &asked[8..12]].concat();
                        write.write_all(&answer).await.unwrap();
                    }
                });
            }
        });
        (address, answering)
    }

    async fn ask(stream: &mut TcpStream, request: &[u8]) -> Option<u8> {
        let mut answer = [0; 8];
        stream.write_all(request).await.ok()?;
        stream.read_exact(&mut answer).await.ok()?;
        Some(answer[7])
    }

    #[tokio::test]
    async fn what_is_named_is_held_and_everything_else_passes() {
        let (broker, _answering) = broker().await;
        let port = crate::ports::free_ports::<1>().unwrap()[0];
        let gate = Gate::open(&format!("127.0.0.1:{port}"), &broker).await.unwrap();
        let mut stream = TcpStream::connect(gate.address()).await.unwrap();
        assert_eq!(ask(&mut stream, &request(Api::EndTxn, 1, "")).await, Some(1));
        let awaited = gate.hold(Moment::before(Api::Produce).about("iot.alerts"));
        assert_eq!(ask(&mut stream, &request(Api::Produce, 2, "iot.raw")).await, Some(2));
        let asked = tokio::spawn(async move {
            let answer = ask(&mut stream, &request(Api::Produce, 3, "x iot.alerts x")).await;
            (answer, stream)
        });
        awaited.reached().await.unwrap().pass();
        let (answer, mut stream) = asked.await.unwrap();
        assert_eq!(answer, Some(3));
        let awaited = gate.hold(Moment::after(Api::EndTxn));
        let asked = tokio::spawn(async move { ask(&mut stream, &request(Api::EndTxn, 4, "")).await });
        awaited.reached().await.unwrap().cut();
        assert_eq!(asked.await.unwrap(), None);
    }
}
