//! The door in front of the SQLite journal: what was acknowledged is in the file, once, after a stop in full flight.

use crate::fake::{PATIENCE, small};
use chassis::admin::Readiness;
use chassis::auth::Keys;
use chassis::clock::Clock;
use chassis::shutdown::Shutdown;
use chassis::supervise::Supervisor;
use ingest::{Ingest, IngestDeps, start};
use journal::port::{Journal, TopicPartition};
use journal::sqlite::{SqliteConfig, SqliteJournal};
use schemas::grammar::ReadingLimits;
use schemas::raw::{RawDecoder, RawView};
use schemas::topic::Topic;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const CLIENTS: usize = 4;
const BATCH: usize = 20;

async fn open(file: &Path) -> (Ingest, Arc<SqliteJournal>, Supervisor) {
    let journal = SqliteJournal::open(SqliteConfig::new(file)).unwrap();
    let supervisor = Supervisor::new(Shutdown::new());
    let deps = IngestDeps {
        journal: Arc::<SqliteJournal>::clone(&journal),
        codec: journal::ids::codec(Arc::<SqliteJournal>::clone(&journal)).unwrap(),
        clock: Clock::system(),
        keys: Arc::new(Keys::none()),
        readiness: Readiness::new(),
        supervisor: supervisor.clone(),
    };
    (start(deps, small()).await.unwrap(), journal, supervisor)
}

/// Sends batches until the door is closed; gives the sequence numbers that were acknowledged, and the one batch
/// whose answer was not heard.
async fn send_until_closed(
    url: String,
    client: usize,
    sent: tokio::sync::mpsc::Sender<()>,
) -> (Vec<i64>, Vec<i64>) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0.. {
        let numbers: Vec<i64> = (0..BATCH).map(|n| ((client * 100_000 + round) * BATCH + n) as i64).collect();
        let lines: Vec<String> = numbers
            .iter()
            .map(|seq| format!("{{\"device_id\":\"d{}\",\"temp\":1,\"seq\":{seq}}}", seq % 7))
            .collect();
        match http.post(&url).body(lines.join("\n")).send().await {
            Ok(answer) if answer.status() == 200 => acknowledged.extend(numbers),
            Ok(answer) => panic!("{answer:?}"),
            Err(_) => return (acknowledged, numbers),
        }
        let _ = sent.try_send(());
    }
    unreachable!("the door is closed at some time")
}

/// How often each sequence number stands in the file.
fn in_file(file: &Path) -> BTreeMap<i64, usize> {
    let journal = SqliteJournal::open(SqliteConfig::new(file)).unwrap();
    let codec = journal::ids::codec(Arc::<SqliteJournal>::clone(&journal)).unwrap();
    let (mut reader, mut decoder) = (journal.reader().unwrap(), RawDecoder::new(ReadingLimits::DEFAULT));
    let mut found = BTreeMap::new();
    for partition in 0..journal.partitions() {
        let place = TopicPartition { topic: Topic::Raw, partition };
        let mut from = reader.bounds(place).unwrap().0;
        loop {
            let next = reader.read(place, from, 1_000, &mut |record| {
                let RawView::Reading(view) = decoder.decode(&codec, record.value, false).unwrap() else {
                    return;
                };
                *found.entry(view.seq().unwrap()).or_insert(0) += 1;
            });
            match next.unwrap() {
                next if next == from => break,
                next => from = next,
            }
        }
    }
    found
}

#[tokio::test]
async fn everything_acknowledged_is_in_the_file_once_after_a_stop_in_full_flight() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("journal.db");
    let (ingest, journal, supervisor) = open(&file).await;
    let url = format!("http://{}/v1/readings", ingest.address());
    let (sent, mut heard) = tokio::sync::mpsc::channel(1_000);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(send_until_closed(url.clone(), client, sent.clone())))
        .collect();
    for _ in 0..50 {
        tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    }
    supervisor.shutdown().begin("asked");
    supervisor.join(PATIENCE).await.unwrap();

    let (mut acknowledged, mut unheard) = (Vec::new(), Vec::new());
    for client in clients {
        let (heard, lost) = client.await.unwrap();
        acknowledged.extend(heard);
        unheard.extend(lost);
    }
    let books = ingest.books();
    assert_eq!((books.difference(), books.in_flight, books.returned), (0, 0, 0), "{books:?}");
    journal.close();
    drop(journal);

    let mut found = in_file(&file);
    assert_eq!(found.values().sum::<usize>() as u64, books.accepted);
    assert!(acknowledged.len() >= 50 * BATCH);
    for seq in acknowledged {
        assert_eq!(found.remove(&seq), Some(1), "{seq}");
    }
    // Readings whose answer was cut off may be there; nothing else may.
    assert!(found.keys().all(|seq| unheard.contains(seq)), "{found:?}");
}
