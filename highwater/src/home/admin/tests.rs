//! The paths over HTTP, with keys in force.

use super::*;
use crate::cli::ConfigArgs;
use crate::client::Client;
use crate::config::{Base, Settings};
use crate::home::live::Watched;
use chassis::admin::{Admin, Readiness};
use chassis::auth::{Keys, RawAuth};
use chassis::config::Problems;
use chassis::server::{ServerLimits, bind};
use chassis::shutdown::Shutdown;
use journal::port::Journal;
use journal::sqlite::{SqliteConfig, SqliteJournal};
use processor::config::RawPipelineConfig;
use reqwest::Method;
use store::port::Store;
use store::sqlite::{SqliteOptions, SqliteStore};

struct Served {
    _directory: tempfile::TempDir,
    address: String,
    read: String,
    admin: String,
    pipeline: Pipeline,
}

/// One key for each of two roles.
fn keys() -> (Keys, String, String) {
    let (read, admin) =
        (chassis::auth::generate().expect("random"), chassis::auth::generate().expect("random"));
    let text = format!(
        "[[key]]\nname = \"r\"\nroles = [\"read\"]\nhash = \"{}\"\n\
         [[key]]\nname = \"a\"\nroles = [\"admin\"]\nhash = \"{}\"",
        read.hash, admin.hash
    );
    let mut problems = Problems::default();
    let raw: RawAuth = toml::from_str(&text).expect("right");
    let keys = raw.resolve("auth", &mut problems);
    problems.finish().expect("right");
    (keys, read.key.expose().to_owned(), admin.key.expose().to_owned())
}

async fn served() -> Served {
    let directory = tempfile::tempdir().expect("a directory");
    let journal =
        SqliteJournal::open(SqliteConfig::new(directory.path().join("journal.db"))).expect("a journal");
    let journal = journal as Arc<dyn Journal>;
    let codec = journal::ids::codec(Arc::clone(&journal)).expect("codec");
    let store =
        SqliteStore::open(&directory.path().join("store.db"), SqliteOptions::default()).expect("a store");
    let store = Arc::new(store) as Arc<dyn Store>;
    let pipeline = RawPipelineConfig::default().resolve(&|_| None, &mut Problems::default());
    let watched = Watched { processor: true, sink: true };
    let settings = Settings::load(&ConfigArgs::default(), Base::Run).expect("defaults");
    let live =
        Live::new(journal, codec, store, pipeline.clone(), settings.scoring, watched, None).expect("readers");
    let (keys, read, admin) = keys();
    let metrics = chassis::metrics::install("test", "0").expect("once");
    let identity = crate::telemetry::identity("test");
    let served = Admin::new(identity, Readiness::new(), metrics, Arc::new(keys), Shutdown::new());
    let listener = bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let asked = Arc::new(OnceLock::from(Arc::new(live)));
    tokio::spawn(served.merge(router(asked)).serve(listener, ServerLimits::default()));
    Served { _directory: directory, address, read, admin, pipeline }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_role_admin_comes_in_and_health_needs_none() {
    let served = served().await;
    for (key, status) in
        [(None, 401), (Some("hw_nobody"), 401), (Some(&*served.read), 403), (Some(&*served.admin), 200)]
    {
        let client = Client::new(&served.address, key).expect("an address");
        for path in ["/v1/books", "/v1/lag", "/v1/models", "/v1/devices", "/v1/dead-letters"] {
            let answer = client.send(Method::GET, path, None).await.expect("an answer");
            assert_eq!(answer.status.as_u16(), status, "{path} with {key:?}: {}", answer.body);
        }
        let health = client.send(Method::GET, "/readyz", None).await.expect("an answer");
        assert_eq!(health.status.as_u16(), 200, "{}", health.body);
    }
    let refused = Client::new(&served.address, None).expect("an address").get("/v1/books").await;
    let told = refused.expect_err("no key").to_string();
    assert!(told.contains("--key"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_or_is_not_there_is_a_problem() {
    let served = served().await;
    let client = Client::new(&served.address, Some(&served.admin)).expect("an address");
    let wrong = "{\"pipeline\":7}";
    for (method, path, body, status) in [
        (Method::GET, "/v1/partitions/x", None, 400),
        (Method::GET, "/v1/dead-letters?limit=x", None, 400),
        (Method::GET, "/v1/devices?cursor=%00", None, 400),
        (Method::POST, "/v1/config", Some(wrong), 422),
        (Method::POST, "/v1/dead-letters/redrive", Some("["), 400),
        (Method::GET, "/v1/partitions/0", None, 404),
        (Method::GET, "/v1/partitions/99", None, 404),
        (Method::GET, "/v1/devices/nobody", None, 404),
        (Method::GET, "/v1/dead-letters/0-7", None, 404),
        (Method::GET, "/v1/config", None, 404),
        (Method::GET, "/v1/nothing", None, 404),
    ] {
        let body = body.map(|text: &str| ("application/json", text.to_owned()));
        let answer = client.send(method, path, body).await.expect("an answer in JSON");
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.body);
        let whole = answer.body["status"] == status && answer.body["detail"].is_string();
        assert!(whole && answer.body["type"].is_string(), "{path}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_is_decided_once() {
    let served = served().await;
    let client = Client::new(&served.address, Some(&served.admin)).expect("an address");
    let proposal = json!({ "pipeline": served.pipeline });
    let decided = client.post("/v1/config", &proposal).await.expect("decided");
    assert_eq!(decided["generation"], 0);
    let in_force = client.get("/v1/config").await.expect("in force");
    assert_eq!(in_force["pipeline"], proposal["pipeline"]);
    let again =
        client.send(Method::POST, "/v1/config", Some(("application/json", proposal.to_string()))).await;
    assert_eq!(again.expect("an answer").status.as_u16(), 409);
    let models = client.get("/v1/models").await.expect("models");
    assert_eq!(models["generation"], 0);
}
