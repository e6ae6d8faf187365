//! Encrypted connections and a registry that wants a login.

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, RegistryProxy, WAIT_MAX, eventually, real};
use std::path::Path;
use std::time::Duration;

const LOAD_MAX: Duration = Duration::from_secs(120);
const ASKING_MAX: Duration = Duration::from_secs(60);
/// Below `admin.start-patience`.
const REFUSED_MAX: Duration = Duration::from_secs(30);
const USER: &str = "reader";
const PASSWORD: &str = "reader-secret";

fn with_login(cluster: Cluster, proxy: &RegistryProxy, password: &str) -> Cluster {
    cluster
        .set(&format!("registry.url={}", proxy.url()))
        .set(&format!("registry.user={USER}"))
        .set(&format!("registry.password={password}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn real_registry_with_a_login_is_used_with_it_and_refused_without() -> Result<()> {
    let Some(cluster) = Cluster::named() else { return Ok(()) };
    let Some(registry) = real("HIGHWATER_TEST_REGISTRY") else { return Ok(()) };
    let Some(proxy) = RegistryProxy::start(&registry, USER, PASSWORD, None) else { return Ok(()) };
    let (proxy, cluster) = (proxy?, cluster?);
    let cluster = with_login(cluster, &proxy, PASSWORD);
    let cluster = tokio::task::block_in_place(|| cluster.made())?;
    let process = cluster.start("process", "p-0").await?;
    ensure!(process.stop().await?.success(), "the processor did not end cleanly");

    let cluster = with_login(cluster, &proxy, "wrong").set("admin.listen=127.0.0.1:0");
    for args in [&["schema", "register"][..], &["process"]] {
        let refused = tokio::task::block_in_place(|| cluster.command(args, REFUSED_MAX))?;
        ensure!(refused.code == Some(1), "{refused:?}");
        ensure!(
            refused.stderr.contains("401") && refused.stderr.contains("registry.password"),
            "{refused:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_encrypted_pipeline_gives_the_truth_and_strangers_are_not_trusted() -> Result<()> {
    let Some(cluster) = Cluster::encrypted() else { return Ok(()) };
    let registry = real("HIGHWATER_TEST_REGISTRY").context("a registry")?;
    let authority = real("HIGHWATER_TEST_SECURED_KAFKA_CA").context("an authority")?;
    let other_authority = real("HIGHWATER_TEST_SECURED_CQL_CA").context("an authority")?;
    let certificate = Path::new(&authority).with_file_name("server.pem");
    let Some(proxy) = RegistryProxy::start(&registry, USER, PASSWORD, Some(&certificate)) else {
        return Ok(());
    };
    let proxy = proxy?;
    let cluster = with_login(cluster?, &proxy, PASSWORD).set(&format!("registry.tls-ca={authority}"));
    let cluster = tokio::task::block_in_place(|| cluster.made())?;
    let mut door = cluster.spawn("ingest", "door")?;
    let process = cluster.start("process", "p-0").await?;
    let sink = cluster.start("sink", "s-0").await?;
    let page = cluster.start("dashboard", "page").await?;
    door.ready().await?;
    let truth = cluster.path().join("truth").display().to_string();
    let (url, query) = (cluster.ingest_url(), cluster.query_url());
    let load = ["loadgen", "--url", &url, "--rate", "300", "--for", "2s", "--devices", "20", "--close"];
    let sent = tokio::task::block_in_place(|| {
        e2e::highwater(&[&load[..], &["--truth", &truth]].concat(), LOAD_MAX)
    })?;
    ensure!(sent.code == Some(0), "{sent:?}");
    eventually("the query API serves the truth", WAIT_MAX, async || {
        let args = ["loadgen", "--verify", &truth, "--query-url", &query];
        let found = tokio::task::block_in_place(|| e2e::highwater(&args, ASKING_MAX))?;
        ensure!(found.code == Some(0), "{found:?}");
        Ok(())
    })
    .await
    .map_err(|error| error.context(process.log()).context(sink.log()))?;
    page.settled().await?;

    // Another authority than the one that signed: each server is named, nothing is sent to it.
    let cluster = cluster.set("admin.start-patience=2s");
    let cluster = cluster.set(&format!("registry.tls-ca={other_authority}"));
    let ask =
        |cluster: &Cluster, args: &[&str]| tokio::task::block_in_place(|| cluster.command(args, ASKING_MAX));
    let refused = ask(&cluster, &["schema", "list"])?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("certificate"), "{refused:?}");
    let cluster = cluster.set(&format!("librdkafka.ssl.ca.location={other_authority}"));
    let refused = ask(&cluster, &["topics", "check"])?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("certificate"), "{refused:?}");
    let cluster = cluster.set(&format!("store.tls-ca={authority}"));
    let refused = ask(&cluster, &["store", "create"])?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("certificate"), "{refused:?}");
    Ok(())
}
