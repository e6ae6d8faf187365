//! What the door costs: readings per second of processor time, over real HTTP on loopback, client included. Run with
//! `cargo bench -p ingest`. One thread serves, one sends; the figure divides by the processor time of both and of
//! the journal's writer.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use chassis::admin::Readiness;
use chassis::auth::Keys;
use chassis::clock::Clock;
use chassis::shutdown::Shutdown;
use chassis::supervise::Supervisor;
use ingest::{IngestConfig, IngestDeps, start};
use journal::sqlite::{SqliteConfig, SqliteJournal};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

const REQUESTS: usize = 2_000;
const BATCH: usize = 500;
/// Connections that each have one request under way: the journal syncs for all of them together.
const CLIENTS: usize = 8;

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(SqliteConfig::new(directory.path().join("journal.db"))).unwrap();
    let supervisor = Supervisor::new(Shutdown::new());
    let deps = IngestDeps {
        journal: Arc::<SqliteJournal>::clone(&journal),
        codec: journal::ids::codec(Arc::<SqliteJournal>::clone(&journal)).unwrap(),
        clock: Clock::system(),
        keys: Arc::new(Keys::none()),
        readiness: Readiness::new(),
        supervisor: supervisor.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = IngestConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..IngestConfig::default() };
    let ingest = runtime.block_on(start(deps, config)).unwrap();

    for body in [array(), lines()] {
        let (began, cpu) = (Instant::now(), processor_seconds());
        let bytes = body.len();
        let senders: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (address, body) = (ingest.address(), body.clone());
                std::thread::spawn(move || send(address, &body, REQUESTS / CLIENTS))
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        let (wall, cpu) = (began.elapsed().as_secs_f64(), processor_seconds() - cpu);
        let readings = (REQUESTS * BATCH) as f64;
        println!(
            "{BATCH} readings in {bytes} bytes: {:.0} readings/s, {:.0} readings per processor second",
            readings / wall,
            readings / cpu
        );
    }
    let books = ingest.books();
    assert_eq!((books.accepted as usize, books.difference()), (2 * REQUESTS * BATCH, 0));
    supervisor.shutdown().begin("done");
    runtime.block_on(supervisor.join(std::time::Duration::from_secs(10))).unwrap();
    journal.close();
}

fn readings() -> Vec<String> {
    let reading = |n: usize| {
        format!(
            "{{\"device_id\":\"sensor-{n:05}\",\"ts\":{},\"seq\":{n},\"temp\":{}.{},\"hum\":{},\"site\":\"hall-{}\"}}",
            1_700_000_000_000_u64 + n as u64,
            n % 40,
            n % 97,
            n % 100,
            n % 9
        )
    };
    (0..BATCH).map(reading).collect()
}

fn array() -> String {
    format!("[{}]", readings().join(","))
}

fn lines() -> String {
    readings().join("\n")
}

fn send(address: SocketAddr, body: &str, requests: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let head = format!(
        "POST /v1/readings HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nContent-Type: {}\r\n\r\n",
        body.len(),
        if body.starts_with('[') { "application/json" } else { "application/x-ndjson" }
    );
    let request = [head.as_bytes(), body.as_bytes()].concat();
    let mut answer = [0; 4_096];
    for _ in 0..requests {
        stream.write_all(&request).unwrap();
        let count = stream.read(&mut answer).unwrap();
        let text = std::str::from_utf8(&answer[..count]).unwrap();
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("\"accepted\":500"), "{text}");
    }
}

/// User and system time of this process, from the kernel's books, in its unit of 10 ms.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    // The fields after the command begin with the third: user time is the 14th, system time the 15th.
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}
