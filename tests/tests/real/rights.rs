//! Each service under a login of its own, with the rights that docs/security.md names and no others: they suffice, and
//! with one less the service says which one it lacks.

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, CqlConnection, Instance, WAIT_MAX, eventually, real};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const DOCUMENT: &str = include_str!("../../../docs/security.md");
const LOAD_MAX: Duration = Duration::from_secs(120);
const ASKING_MAX: Duration = Duration::from_secs(60);
/// Well below `admin.start-patience`, for which a server that is away is waited for.
const REFUSED_MAX: Duration = Duration::from_secs(30);
/// How long a service may take to end once it has met what it may not do.
const ENDING_MAX: Duration = Duration::from_secs(5);

/// The block of the document behind a mark: what people copy is what is tested.
fn block(mark: &str) -> Result<&'static str> {
    let rest =
        DOCUMENT.split(&format!("<!-- {mark} -->")).nth(1).with_context(|| format!("no mark {mark}"))?;
    let (_, rest) = rest.split_once("```").and_then(|(_, rest)| rest.split_once('\n')).context("no block")?;
    Ok(rest.split("```").next().unwrap_or_default())
}

/// Runs `kafka-acls` commands against the stack's Kafka, as its administrator.
fn kafka_acls(prefix: &str, commands: &str) -> Result<()> {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("stack/kafka");
    // The document's own first four arguments say where and as whom.
    let script = format!(
        "set -euo pipefail; BROKERS=- ADMIN=- PREFIX={prefix}\n\
         kafka-acls() {{ shift 4; {} --secured tool org.apache.kafka.tools.AclCommand \"$@\"; }}\n{commands}",
        tool.display()
    );
    let done = Command::new("bash").args(["-c", &script]).output().context("starting bash")?;
    ensure!(done.status.success(), "{commands}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

struct Secured {
    cluster: Cluster,
    prefix: String,
    keyspace: String,
    cql: String,
}

impl Secured {
    fn new(cluster: Cluster) -> Result<Self> {
        let prefix = cluster.setting("journal.topic-prefix").context("a prefix")?.to_owned();
        let store = cluster.setting("store.url").context("a store")?;
        let keyspace = store.rsplit('/').next().unwrap_or_default().to_owned();
        let cql = real("HIGHWATER_TEST_SECURED_CQL").context("an address")?;
        let secured = Self { cluster, prefix, keyspace, cql };
        kafka_acls(&secured.prefix, block("kafka-acls")?)?;
        secured.cql(block("cql")?)?;
        Ok(secured)
    }

    /// Statements as the superuser.
    fn cql(&self, statements: &str) -> Result<()> {
        let user = real("HIGHWATER_TEST_SECURED_CQL_USER").context("a user")?;
        let password = real("HIGHWATER_TEST_SECURED_CQL_PASSWORD").context("a password")?;
        let statements = statements.replace("KEYSPACE KEYSPACE", &format!("KEYSPACE {}", self.keyspace));
        let statements = statements.replace("EXISTS KEYSPACE", &format!("EXISTS {}", self.keyspace));
        CqlConnection::open(&self.cql, &user, &password)?.send(&statements)
    }

    /// Takes one right away.
    fn take(&self, login: &str, right: &str) -> Result<()> {
        let right = right.replace("iot.", &format!("{}iot.", self.prefix));
        let right = right.replace("highwater-", &format!("{}highwater-", self.prefix));
        kafka_acls(
            &self.prefix,
            &format!("kafka-acls 1 2 3 4 --remove --force --allow-principal User:{login} {right}"),
        )
    }

    fn load(&self) -> Result<PathBuf> {
        let truth = self.cluster.path().join("truth");
        let (url, into) = (self.cluster.ingest_url(), truth.display().to_string());
        let args = ["loadgen", "--url", &url, "--rate", "300", "--for", "2s", "--devices", "20", "--close"];
        let sent = e2e::highwater(&[&args[..], &["--truth", &into]].concat(), LOAD_MAX)?;
        ensure!(sent.code == Some(0), "{sent:?}");
        Ok(truth)
    }
}

fn reading(seq: u32) -> String {
    format!(r#"{{"device_id":"d-1","temp":1.5,"seq":{seq}}}"#)
}

async fn ended_saying(instance: &mut Instance, told: &str) -> Result<()> {
    tokio::time::timeout(WAIT_MAX, instance.ended())
        .await
        .with_context(|| format!("runs without {told}: {}", instance.log()))?;
    ensure!(instance.log().contains(told), "not said: {told}: {}", instance.log());
    Ok(())
}

struct Running {
    door: Instance,
    process: Instance,
    sink: Instance,
    page: Instance,
}

impl Secured {
    fn ask(&self, args: &[&str]) -> Result<e2e::Finished> {
        tokio::task::block_in_place(|| self.cluster.command(args, ASKING_MAX))
    }

    async fn started(&self) -> Result<Running> {
        let mut door = self.cluster.spawn("ingest", "door")?;
        let process = self.cluster.start("process", "p-0").await?;
        let sink = self.cluster.start("sink", "s-0").await?;
        let page = self.cluster.start("dashboard", "page").await?;
        door.ready().await?;
        Ok(Running { door, process, sink, page })
    }

    /// For the pipeline, and for what a dashboard is asked.
    async fn rights_suffice(&self, running: &Running) -> Result<()> {
        let Running { process, sink, page, .. } = running;
        let truth = tokio::task::block_in_place(|| self.load())?.display().to_string();
        let query = self.cluster.query_url();
        eventually("the query API serves the truth", WAIT_MAX, async || {
            let found = tokio::task::block_in_place(|| {
                e2e::highwater(&["loadgen", "--verify", &truth, "--query-url", &query], ASKING_MAX)
            })?;
            ensure!(found.code == Some(0), "{found:?}");
            Ok(())
        })
        .await
        .map_err(|error| error.context(process.log()).context(sink.log()))?;
        page.settled().await?;
        for path in ["/admin/v1/lag", "/admin/v1/partitions", "/admin/v1/dead-letters", "/admin/v1/config"] {
            page.get(path).await?;
        }
        // It may not write, and says so; nothing else is hurt.
        let applied =
            self.ask(&["config", "apply", "--url", page.admin_url(), "--set", "time.lateness=7m"])?;
        let told = format!("Write on the topic `{}iot.control`", self.prefix);
        ensure!(applied.code == Some(1) && applied.stderr.contains(&told), "{applied:?}");
        Ok(())
    }

    /// Cassandra keeps what it knows of a role's rights for two seconds.
    async fn sink_lacks_modify(&self, sink: &mut Instance) -> Result<()> {
        tokio::task::block_in_place(|| self.cql("REVOKE MODIFY ON KEYSPACE KEYSPACE FROM sink"))?;
        eventually("the sink ends", WAIT_MAX, async || {
            tokio::task::block_in_place(|| self.load())?;
            tokio::time::timeout(ENDING_MAX, sink.ended()).await.context("the sink runs on")
        })
        .await?;
        ensure!(sink.log().contains("GRANT MODIFY"), "{}", sink.log());
        Ok(())
    }
}

/// The clients of the services are measured.
async fn metrics_are_there(instance: &Instance, metrics: &[&str]) -> Result<()> {
    eventually("the clients' metrics are there", WAIT_MAX, async || {
        let text = reqwest::get(format!("{}/metrics", instance.admin_url())).await?.text().await?;
        for metric in metrics {
            let line = text.lines().find(|line| line.starts_with(&format!("highwater_{metric}")));
            ensure!(line.is_some(), "{metric} is not scraped");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_rights_of_each_service_suffice_and_one_less_is_named() -> Result<()> {
    let Some(cluster) = Cluster::secured() else { return Ok(()) };
    let home = tokio::task::block_in_place(|| Secured::new(cluster?))?;
    for args in [["topics", "create"], ["topics", "check"], ["schema", "register"], ["store", "create"]] {
        let done = home.ask(&args)?;
        ensure!(done.code == Some(0), "{args:?}: {done:?}");
    }
    let mut running = home.started().await?;
    home.rights_suffice(&running).await?;
    let of_kafka = ["kafka_rtt_p99_seconds{", "kafka_queued_records{", "kafka_producers_renewed_total"];
    metrics_are_there(&running.process, &of_kafka).await?;
    let of_store = ["store_requests_total", "store_concurrency_allowed", "store_failures_total{"];
    metrics_are_there(&running.sink, &of_store).await?;

    // One less, each. The sink first, which needs results to write.
    home.sink_lacks_modify(&mut running.sink).await?;
    let Running { mut door, process, page, .. } = running;
    ensure!(process.stop().await?.success(), "the processor did not end cleanly");
    tokio::task::block_in_place(|| {
        let commits =
            "--operation Write --transactional-id highwater-processor- --resource-pattern-type prefixed";
        home.take("process", commits)?;
        home.take("operator", "--operation DescribeConfigs --topic iot. --resource-pattern-type prefixed")?;
        home.cql("REVOKE SELECT ON KEYSPACE KEYSPACE FROM dashboard")
    })?;
    let checked = home.ask(&["topics", "check"])?;
    let told = "DescribeConfigs on the topic";
    ensure!(checked.code == Some(1) && checked.stderr.contains(told), "{checked:?}");
    let prefix = &home.prefix;
    let mut other = home.cluster.spawn("process", "p-1")?;
    door.post_lines(&[reading(1)]).await?;
    let told = format!("Write on the transactional id `{prefix}highwater-processor-p-1`");
    ended_saying(&mut other, &told).await?;
    let appends = "--operation Write --topic iot.raw --topic iot.dead-letters";
    tokio::task::block_in_place(|| home.take("ingest", appends))?;
    // The door ends, so that its answer may be cut off.
    let _ = door.post_lines(&[reading(2)]).await;
    ended_saying(&mut door, &format!("Write on the topic `{prefix}iot.raw`")).await?;
    ensure!(page.stop().await?.success(), "the dashboard did not end cleanly");
    let mut other = home.cluster.spawn("dashboard", "other-page")?;
    ended_saying(&mut other, "has no SELECT permission").await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_rights_are_not_waited_for() -> Result<()> {
    let ask = |set: &str, args: &[&str]| -> Result<Option<e2e::Finished>> {
        let Some(cluster) = Cluster::secured() else { return Ok(None) };
        tokio::task::block_in_place(|| cluster?.set(set).command(args, REFUSED_MAX)).map(Some)
    };
    for (set, args, told) in [
        ("admin.start-patience=5m", &["topics", "create"][..], "Describe on"),
        ("librdkafka.sasl.password=wrong", &["topics", "create"], "sasl.password"),
        ("store.password=wrong", &["store", "create"], "`operator` or its password"),
        ("admin.listen=127.0.0.1:0", &["process"], "Describe on the topic"),
        ("admin.listen=127.0.0.1:0", &["ingest"], "Describe on the topic"),
    ] {
        let Some(done) = ask(set, args)? else { return Ok(()) };
        ensure!(done.code == Some(1) && done.stderr.contains(told), "{args:?} with {set}: {done:?}");
    }
    Ok(())
}
