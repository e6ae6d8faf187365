//! One gateway: sends what is due of its devices, in order, one request at a time, and falls behind rather than
//! change the schedule.

use super::{PAUSE_MAX, PAUSE_MIN, RunConfig, RunError};
use crate::Micros;
use crate::fleet::{Expect, Plan, Planned};
use crate::http::{self, Answer};
use crate::ledger::Ledger;
use crate::random::Random;
use crate::report::{Report, histogram};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

pub(super) struct Gateway {
    plan: Plan,
    head: Option<Planned>,
    zero: Instant,
    client: reqwest::Client,
    url: String,
    config: RunConfig,
    stopped: watch::Receiver<bool>,
    random: Random,
    ledger: Ledger,
    latency: Histogram<u64>,
    report: Report,
}

impl Gateway {
    pub(super) fn new(
        number: u32,
        mut plan: Plan,
        config: &RunConfig,
        metrics: Vec<String>,
        zero: Instant,
        stopped: watch::Receiver<bool>,
    ) -> Result<Self, RunError> {
        Ok(Self {
            head: plan.next(),
            plan,
            zero,
            client: http::client(config.key.as_deref())?,
            url: format!("{}/v1/readings", config.url),
            config: config.clone(),
            stopped,
            random: Random::new(u64::from(number)),
            ledger: Ledger::new(config.windows.clone(), metrics),
            latency: histogram(),
            report: Report::default(),
        })
    }

    pub(super) async fn run(mut self) -> (Report, Histogram<u64>) {
        let mut batch: Vec<Planned> = Vec::with_capacity(self.config.batch);
        loop {
            match self.fill(&mut batch) {
                Some(at) => {
                    let mut stopped = self.stopped.clone();
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        _ = stopped.wait_for(|stopped| *stopped) => break,
                    }
                }
                None if batch.is_empty() => break,
                None => {
                    if !self.send(&batch).await || *self.stopped.borrow() {
                        break;
                    }
                    batch.clear();
                }
            }
        }
        let mut report = self.report;
        report.truth = self.ledger.close();
        report.truth.anomalies = self.plan.take_anomalies();
        (report, self.latency)
    }

    /// Moves what is due into the batch. Returns when to look again, or none when the batch is to be sent now (an
    /// empty one: the schedule has ended).
    fn fill(&mut self, batch: &mut Vec<Planned>) -> Option<Instant> {
        let now = self.zero.elapsed();
        while batch.len() < self.config.batch
            && let Some(planned) = self.head.take_if(|planned| span(planned.at) <= now)
        {
            batch.push(planned);
            self.head = self.plan.next();
        }
        if batch.len() >= self.config.batch {
            return None;
        }
        let next = span(self.head.as_ref()?.at);
        let wake = batch.first().map_or(next, |first| span(first.at) + self.config.linger);
        (wake > now).then(|| self.zero + wake)
    }

    /// Sends a batch until it is answered. False when this gateway is to stop.
    async fn send(&mut self, batch: &[Planned]) -> bool {
        let mut body = String::with_capacity(batch.iter().map(|planned| planned.line.len() + 1).sum());
        for planned in batch {
            body.push_str(&planned.line);
            body.push('\n');
        }
        self.report.sent += batch.len() as u64;
        self.count(|progress| &progress.sent, batch.len() as u64);
        let mut pause = PAUSE_MIN;
        let mut give_up: Option<Instant> = None;
        loop {
            self.report.requests += 1;
            self.report.bytes += body.len() as u64;
            let after = match http::post(&self.client, &self.url, "application/x-ndjson", body.clone()).await
            {
                Answer::Taken { accepted, rejected } => {
                    self.settle(batch, accepted, &rejected.into_iter().collect());
                    return true;
                }
                Answer::NothingReadable(why) => {
                    let rejected = (0..batch.len()).map(|index| (index, why.clone())).collect();
                    self.settle(batch, 0, &rejected);
                    return true;
                }
                Answer::Refused(why) => {
                    self.report.problem(why);
                    self.doubt(batch);
                    return false;
                }
                Answer::Again { after, why } => {
                    self.report.problem(why);
                    after
                }
            };
            self.report.retries += 1;
            self.count(|progress| &progress.retries, 1);
            let over = self.zero.elapsed() >= self.config.duration || *self.stopped.borrow();
            if give_up.is_none() && over {
                give_up = Some(Instant::now() + self.config.patience);
            }
            let wait = after.unwrap_or_else(|| pause.mul_f64(0.5 + self.random.unit() / 2.0));
            if give_up.is_some_and(|at| Instant::now() + wait > at) {
                self.doubt(batch);
                return false;
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Compares an answer with what had to be answered, and books it.
    fn settle(&mut self, batch: &[Planned], accepted: u64, rejected: &BTreeMap<usize, String>) {
        let now = micros(self.zero.elapsed());
        for (index, planned) in batch.iter().enumerate() {
            let refusal = rejected.get(&index);
            match (refusal, planned.expect) {
                (None, Expect::Refused) => {
                    self.report.rejected_unexpected += 1;
                    self.report.problem(format!("accepted, but unreadable: {}", planned.line));
                }
                (Some(_), Expect::Refused) => {
                    self.report.rejected_expected += 1;
                    self.ledger.acknowledge(planned);
                }
                (Some(why), _) => {
                    self.report.rejected_unexpected += 1;
                    self.report.problem(format!("refused ({why}): {}", planned.line));
                }
                (None, _) => {
                    self.report.acknowledged += 1;
                    self.ledger.acknowledge(planned);
                    self.latency.saturating_record(u64::try_from(now - planned.at).unwrap_or(0).max(1));
                }
            }
        }
        if accepted + rejected.len() as u64 != batch.len() as u64 {
            let (taken, refused, sent) = (accepted, rejected.len(), batch.len());
            self.report.rejected_unexpected += 1;
            self.report
                .problem(format!("{sent} sent, but {taken} said to be accepted and {refused} rejected"));
        }
        self.count(|progress| &progress.acknowledged, accepted);
        self.count(|progress| &progress.rejected, rejected.len() as u64);
    }

    fn doubt(&mut self, batch: &[Planned]) {
        self.report.uncertain += batch.len() as u64;
        batch.iter().for_each(|planned| self.ledger.doubt(planned));
    }

    fn count(&self, counter: impl Fn(&super::Progress) -> &std::sync::atomic::AtomicU64, by: u64) {
        if let Some(progress) = &self.config.progress {
            counter(progress).fetch_add(by, Relaxed);
        }
    }
}

fn span(at: Micros) -> Duration {
    Duration::from_micros(at.max(0).unsigned_abs())
}

fn micros(span: Duration) -> Micros {
    Micros::try_from(span.as_micros()).unwrap_or(Micros::MAX)
}
