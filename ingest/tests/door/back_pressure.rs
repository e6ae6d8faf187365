//! When the house is full or the journal does not write: nothing is half acknowledged, and the sender knows when to
//! come again.

use crate::fake::{Answer, Door, Mode, PATIENCE, SEED, open, small};
use futures_util::StreamExt;
use ingest::IngestConfig;
use journal::port::JournalError;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn batch() -> String {
    format!("[{SEED},17,{SEED}]")
}

/// Nothing was taken, the sender shall come again, the books know.
fn check_turned_away(door: &Door, answer: &Answer, status: u16, returned: u64, in_flight: u64) {
    assert_eq!(answer.status, status, "{:?}", answer.body);
    assert!(answer.retry_after_s.is_some_and(|seconds| (1..=12).contains(&seconds)), "{answer:?}");
    assert!(answer.body["detail"].as_str().unwrap().contains("send it again"), "{answer:?}");
    assert!(answer.body.get("accepted").is_none());
    assert!(door.journal.written().is_empty());
    let books = door.ingest.books();
    assert_eq!(
        (books.returned, books.accepted, books.rejected, books.in_flight),
        (returned, 0, 0, in_flight)
    );
    door.check_books();
}

#[tokio::test]
async fn a_full_queue_is_429() {
    let door = open(small()).await;
    door.journal.set(Mode::Full);
    let answer = door.post(batch()).await;
    check_turned_away(&door, &answer, 429, 3, 0);
    assert_eq!(answer.kind(), "busy");
    door.journal.set(Mode::Accept);
    assert_eq!(door.post(batch()).await.status, 200);
    door.check_books();
}

#[tokio::test]
async fn a_queue_that_has_no_room_for_the_body_is_429_before_it_is_read() {
    let door = open(small()).await;
    door.journal.set(Mode::Hold);
    door.journal.set_queue_bytes_max(1_000);
    let first = tokio::spawn(door.client.post(&door.url).body(SEED).send());
    door.journal.held(1).await;
    let answer = door.post(format!("{SEED}\n").repeat(40)).await;
    assert_eq!((answer.status, answer.kind()), (429, "busy"));
    assert!(answer.body["detail"].as_str().unwrap().contains("wait to be written"), "{answer:?}");
    assert_eq!(door.ingest.books().received, 1);
    door.journal.release();
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    door.journal.set(Mode::Accept);
    let answer = door.post(format!("{SEED}\n").repeat(40)).await;
    assert_eq!(answer.status, 200, "an empty queue is asked, whatever its bound: {answer:?}");
    door.check_books();
}

#[tokio::test]
async fn bodies_that_take_too_much_memory_together_are_429() {
    let config = IngestConfig { body_max: 100_000, bodies_in_flight_max: 250_000, ..small() };
    let door = open(config).await;
    let stuck =
        [90_000, 90_000].map(|bytes| tokio::spawn(door.client.post(&door.url).body(endless(bytes)).send()));
    let full = tokio::time::timeout(PATIENCE, async {
        loop {
            let answer = door.post(SEED.to_owned() + &" ".repeat(90_000)).await;
            if answer.status == 429 {
                return answer;
            }
        }
    });
    let answer = full.await.unwrap();
    assert!(answer.body["detail"].as_str().unwrap().contains("bytes for requests are in use"), "{answer:?}");
    assert!(answer.retry_after_s.is_some());
    // Small ones still fit.
    assert_eq!(door.post(SEED).await.status, 200);
    for request in stuck {
        request.abort();
    }
    // Room comes back when they are gone.
    let large = || door.post(SEED.to_owned() + &" ".repeat(90_000));
    let free = tokio::time::timeout(PATIENCE, async { while large().await.status != 200 {} });
    free.await.unwrap();
    door.check_books();
}

#[tokio::test]
async fn senders_that_announce_much_and_send_little_hold_little() {
    let config = IngestConfig { body_max: 100_000, bodies_in_flight_max: 400_000, ..small() };
    let door = open(config).await;
    let mut drips = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(door.ingest.address()).await.unwrap();
        let head = b"POST /v1/readings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n[";
        stream.write_all(head).await.unwrap();
        drips.push(stream);
    }
    for _ in 0..50 {
        assert_eq!(door.post(batch() + &" ".repeat(90_000)).await.status, 200);
    }
    door.check_books();
}

/// A body of unannounced length that sends so many bytes and never ends.
fn endless(bytes: usize) -> reqwest::Body {
    let sent = futures_util::stream::iter([Ok::<_, std::io::Error>(vec![b' '; bytes])]);
    reqwest::Body::wrap_stream(sent.chain(futures_util::stream::pending()))
}

#[tokio::test]
async fn records_that_take_much_more_memory_than_their_body_need_room_too() {
    // Every two bytes become a letter of several hundred.
    let body = "1\n".repeat(100);
    let config = IngestConfig { body_max: 2_000, bodies_in_flight_max: 500_000, ..small() };
    let door = open(config).await;
    door.journal.set(Mode::Hold);
    let mut waiting = Vec::new();
    let answer = loop {
        let mut request = Box::pin(door.post(body.clone()));
        tokio::select! {
            () = door.journal.held(waiting.len() + 1) => waiting.push(request),
            answer = &mut request => break answer,
        }
    };
    assert!((1..50).contains(&waiting.len()), "{} fit", waiting.len());
    check_turned_away(&door, &answer, 429, 100, 100 * waiting.len() as u64);
    door.journal.release();
    for request in waiting {
        assert_eq!(request.await.status, 400);
    }
    door.check_books();

    // Alone it would not fit either: coming again is of no use.
    let door = open(IngestConfig { body_max: 2_000, bodies_in_flight_max: 20_000, ..small() }).await;
    let answer = door.post(body).await;
    assert_eq!((answer.status, answer.kind(), answer.retry_after_s), (413, "too-large", None));
    assert!(answer.body["detail"].as_str().unwrap().contains("send smaller requests"), "{answer:?}");
    assert_eq!(door.ingest.books().returned, 100);
    door.check_books();
}

#[tokio::test]
async fn a_journal_that_cannot_write_is_503_until_it_can() {
    let door = open(small()).await;
    for error in [JournalError::Retry("disk full".to_owned()), JournalError::Unknown("no answer".to_owned())]
    {
        let before = door.ingest.books().returned;
        door.journal.set(Mode::Fail(error));
        let answer = door.post(batch()).await;
        check_turned_away(&door, &answer, 503, before + 3, 0);
        assert_eq!(answer.kind(), "journal-unavailable");
        assert!(door.readiness.missing_parts().contains_key("ingest: journal"));
    }
    door.journal.set(Mode::Drop);
    let answer = door.post(batch()).await;
    check_turned_away(&door, &answer, 503, 9, 0);
    door.journal.set(Mode::Fail(JournalError::Retry("disk full".to_owned())));
    let device = door.ask(reqwest::Method::DELETE, "/v1/devices/a", "").await;
    assert_eq!((device.status, device.retry_after_s.is_some()), (503, true));
    door.journal.set(Mode::Accept);
    assert_eq!(door.post(batch()).await.status, 200);
    assert!(door.readiness.missing_parts().is_empty());
    door.check_books();
}

#[tokio::test]
async fn a_journal_that_will_not_write_again_ends_the_service_after_its_senders_were_told() {
    let door = open(small()).await;
    door.journal.set(Mode::Fail(JournalError::Fatal("file is corrupt".to_owned())));
    let answer = door.post(batch()).await;
    check_turned_away(&door, &answer, 503, 3, 0);
    let failure = door.supervisor.join(PATIENCE).await.unwrap_err();
    assert!(failure.to_string().contains("will not write again"), "{failure}");
}

#[tokio::test]
async fn times_to_come_again_are_spread() {
    let door = open(small()).await;
    door.journal.set(Mode::Fail(JournalError::Retry("disk full".to_owned())));
    let mut seconds = std::collections::BTreeSet::new();
    for _ in 0..20 {
        seconds.insert(door.post(SEED).await.retry_after_s.unwrap());
    }
    assert!(seconds.len() >= 4 && seconds.first() >= Some(&5), "{seconds:?}");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let door = open(IngestConfig { body_timeout: Duration::from_millis(30), ..small() }).await;
    let answer = door.post(endless(1)).await;
    assert_eq!((answer.status, answer.kind()), (408, "timeout"));
    assert_eq!(door.post(SEED).await.status, 200);
}

#[tokio::test]
async fn a_sender_that_hangs_up_changes_nothing_about_what_was_queued() {
    let door = open(small()).await;
    door.journal.set(Mode::Hold);
    let request = tokio::spawn(door.client.post(&door.url).body(batch()).send());
    door.journal.held(1).await;
    assert_eq!(door.ingest.books().in_flight, 3);
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    door.journal.release();
    let books = door.ingest.books();
    assert_eq!((books.received, books.accepted, books.rejected, books.in_flight), (3, 2, 1, 0));
    door.check_books();
}

#[test]
fn a_lost_record_shows_in_the_books() {
    // What `check_books` compares must be able to differ: here one record is taken away behind the door's back.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let door = open(small()).await;
        assert_eq!(door.post(batch()).await.status, 200);
        door.check_books();
        door.journal.lose_one();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| door.check_books()));
        assert!(caught.is_err());
    });
}
