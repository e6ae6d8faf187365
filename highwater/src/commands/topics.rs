//! `topics`: whether a Kafka journal's topics are as they must be, and making them.

use crate::cli::{DeployArgs, TopicsAction};
use crate::config::{Base, Settings};
use crate::exit::Outcome;
use crate::output::out;
use crate::table;
use anyhow::{Context, Result, bail};
use chassis::config::format_duration;
use journal::kafka::topics::{self, Found, Plan, TopicLine};
use journal::port::{Disposition, JournalError};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Between two attempts to reach a broker.
const AGAIN_EVERY: Duration = Duration::from_secs(1);

const COLUMNS: [(&str, &str); 7] = [
    ("topic", "/name"),
    ("partitions", "/partitions"),
    ("copies", "/copies"),
    ("in sync", "/settings/min.insync.replicas"),
    ("cleanup", "/settings/cleanup.policy"),
    ("kept", "/kept"),
    ("found", "/found"),
];

/// Runs the command.
///
/// # Errors
/// When the brokers do not answer in time, or refuse.
pub(crate) async fn run(action: TopicsAction) -> Result<Outcome> {
    match action {
        TopicsAction::Create(args) => with_brokers(args, topics::create).await,
        TopicsAction::Check(args) => with_brokers(args, topics::check).await,
    }
}

type Question = fn(&journal::kafka::KafkaConfig, &Plan) -> Result<Vec<TopicLine>, JournalError>;

async fn with_brokers(args: DeployArgs, ask: Question) -> Result<Outcome> {
    let settings = Settings::load(&args.config, Base::Run)?;
    let instance = &settings.process.instance;
    let Some(config) = settings.journal.kafka(instance, &settings.librdkafka) else {
        let at = &settings.journal.at;
        if args.json {
            out!("{}", json!({ "journal": at.to_string(), "topics": [] }));
        } else {
            out!("nothing to do: {at} makes its topics by itself");
        }
        return Ok(Outcome::Done);
    };
    let kafka = settings.journal.kafka.as_ref();
    let plan = Plan {
        partitions: settings.journal.partitions_said.then_some(settings.journal.partitions),
        copies: kafka.and_then(|kafka| kafka.replication_factor),
        in_sync: kafka.and_then(|kafka| kafka.min_insync_replicas),
        kept: settings.journal.kept(),
    };
    let deadline = Instant::now() + settings.admin.start_patience;
    let lines = loop {
        let (config, plan) = (config.clone(), plan.clone());
        match tokio::task::spawn_blocking(move || ask(&config, &plan)).await.context("asking the brokers")? {
            Ok(lines) => break lines,
            Err(why) if why.disposition() != Disposition::Retry => return Err(why.into()),
            Err(why) if Instant::now() >= deadline => {
                let patience = format_duration(settings.admin.start_patience);
                bail!("{why} (tried for {patience}, `admin.start-patience`)");
            }
            Err(why) => eprintln!("{why}; trying again"),
        }
        tokio::time::sleep(AGAIN_EVERY).await;
    };
    Ok(say(&lines, &settings.journal.at.to_string(), args.json))
}

fn say(lines: &[TopicLine], journal: &str, as_json: bool) -> Outcome {
    let rows: Vec<Value> = lines.iter().map(row).collect();
    if as_json {
        out!("{}", json!({ "journal": journal, "topics": rows }));
    } else {
        table::lines(&rows, &COLUMNS).iter().for_each(|line| out!("{line}"));
        for line in lines {
            let Found::Differs(differences) = &line.found else { continue };
            for difference in differences {
                let grade = if difference.unusable { "UNUSABLE" } else { "differs" };
                out!(
                    "{grade}: {} {} is {}, wanted {}: {}",
                    line.name,
                    difference.setting,
                    difference.found,
                    difference.wanted,
                    difference.advice
                );
            }
        }
        if lines.iter().any(|line| line.found == Found::Missing) {
            out!(
                "`highwater topics create` makes what is missing, unless a topic that is there cannot be used"
            );
        }
    }
    let good = lines.iter().all(|line| matches!(line.found, Found::Right | Found::Made));
    if good { Outcome::Done } else { Outcome::Negative }
}

fn row(line: &TopicLine) -> Value {
    let (found, differences) = match &line.found {
        Found::Missing => ("missing", Vec::new()),
        Found::Made => ("made", Vec::new()),
        Found::Right => ("right", Vec::new()),
        Found::Differs(differences) => ("differs", differences.clone()),
    };
    let differences: Vec<Value> = differences
        .iter()
        .map(|difference| {
            json!({
                "setting": difference.setting,
                "wanted": difference.wanted,
                "found": difference.found,
                "unusable": difference.unusable,
                "advice": difference.advice,
            })
        })
        .collect();
    json!({
        "topic": line.topic.name(),
        "name": line.name,
        "partitions": line.partitions,
        "copies": line.copies,
        "settings": line.settings,
        "kept": kept(line),
        "found": found,
        "differences": differences,
    })
}

/// How long, in words.
fn kept(line: &TopicLine) -> String {
    let number = |name: &str| line.settings.get(name).and_then(|text| text.parse::<u64>().ok());
    let age = number("retention.ms").map(|millis| format_duration(Duration::from_millis(millis)));
    let size = number("retention.bytes").map(chassis::config::format_size);
    match (age, size) {
        (None, None) => "for ever".to_owned(),
        (Some(kept), None) | (None, Some(kept)) => kept,
        (Some(age), Some(size)) => format!("{age}, {size}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::kafka::topics::Difference;
    use schemas::topic::Topic;

    fn line(found: Found) -> TopicLine {
        TopicLine {
            topic: Topic::Raw,
            name: "x.iot.raw".to_owned(),
            partitions: 4,
            copies: 3,
            settings: [("retention.ms", "604800000".to_owned()), ("retention.bytes", "-1".to_owned())].into(),
            found,
        }
    }

    #[test]
    fn a_difference_is_told_and_is_a_negative_outcome() {
        let differs = Difference {
            setting: "retention.ms",
            wanted: "1".to_owned(),
            found: "2".to_owned(),
            advice: "set it",
            unusable: false,
        };
        let row = row(&line(Found::Differs(vec![differs.clone()])));
        assert_eq!(row["differences"][0]["setting"], "retention.ms");
        assert_eq!((&row["kept"], &row["name"]), (&json!("7d"), &json!("x.iot.raw")));
        let outcome = |found| say(&[line(Found::Right), line(found)], "kafka://h:1", true);
        assert_eq!(outcome(Found::Made), Outcome::Done);
        assert_eq!(outcome(Found::Missing), Outcome::Negative);
        assert_eq!(outcome(Found::Differs(vec![differs])), Outcome::Negative);
    }
}
