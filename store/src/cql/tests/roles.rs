//! A cluster with logins: what each service's role needs, and what is said when it lacks something.

use super::*;
use crate::conformance::{aggregate, first};

/// A cluster with logins, and its administrator.
fn secured(test: &str) -> Option<CqlConfig> {
    let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let node = named("HIGHWATER_TEST_SECURED_CQL", test)?;
    let mut config = CqlConfig::new(vec![node], &fresh());
    let login = |name: &str| given(name).unwrap_or_else(|| "cassandra".to_owned());
    config.login = Some(Login {
        user: login("HIGHWATER_TEST_SECURED_CQL_USER"),
        password: login("HIGHWATER_TEST_SECURED_CQL_PASSWORD"),
    });
    Some(config)
}

/// A role of the test, with these rights on the keyspace; as it opens the store.
fn role(client: &Client, name: &str, rights: &[&str]) -> CqlConfig {
    let role = format!("{}_{name}", client.config.keyspace);
    let password = format!("s3cret_{name}");
    client.try_run(&format!("CREATE ROLE {role} WITH PASSWORD = '{password}' AND LOGIN = true")).unwrap();
    for right in rights {
        client.try_run(&format!("GRANT {right} ON KEYSPACE {{k}} TO {role}")).unwrap();
    }
    let login = Some(Login { user: role, password });
    CqlConfig { login, create: false, ..client.config.clone() }
}

/// Drops the keyspace and its roles.
struct Tidy(CqlConfig, &'static [&'static str]);

impl Drop for Tidy {
    fn drop(&mut self) {
        let client = Client::new(&self.0);
        let _ = client.try_run("DROP KEYSPACE IF EXISTS {k}");
        for name in self.1 {
            let _ = client.try_run(&format!("DROP ROLE IF EXISTS {{k}}_{name}"));
        }
    }
}

fn fatal<T: fmt::Debug>(outcome: Result<T, StoreError>) -> String {
    match outcome {
        Err(StoreError::Fatal(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn denied<T: fmt::Debug>(outcome: Result<T, StoreError>) -> String {
    match outcome {
        Err(StoreError::Denied(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn services_need_no_more_than_to_read_and_the_sink_to_modify() {
    let Some(config) = secured("services_need_no_more_than_to_read_and_the_sink_to_modify") else { return };
    let _tidy = Tidy(config.clone(), &["sink", "page", "writer", "none"]);
    migrate(config.clone()).unwrap();
    let admin = Client::new(&config);
    let write = [Write::Aggregate(aggregate("d", 0, 1, 100))];

    let sink = CqlStore::open(role(&admin, "sink", &["SELECT", "MODIFY"])).unwrap();
    sink.write(&write).unwrap();

    let page = CqlStore::open(role(&admin, "page", &["SELECT"])).unwrap();
    assert_eq!(page.latest("d").unwrap().len(), 1);
    assert_eq!(page.device("d").unwrap().unwrap().alerts, Some(0));
    assert_eq!(page.devices(&first(9)).unwrap().items.len(), 1);
    assert_eq!(page.count().unwrap().windows, 1);
    let said = denied(page.write(&write));
    assert!(said.contains("MODIFY") && said.contains(&config.keyspace), "{said}");

    // One right less: it cannot even look at the version.
    for (name, rights) in [("writer", &["MODIFY"][..]), ("none", &[])] {
        let said = denied(CqlStore::open(role(&admin, name, rights)));
        assert!(said.contains("SELECT") && said.contains(&config.keyspace), "{said}");
    }
}

#[test]
fn who_may_not_create_is_told_who_may() {
    let Some(config) = secured("who_may_not_create_is_told_who_may") else { return };
    let _tidy = Tidy(config.clone(), &["sink"]);
    let admin = Client::new(&config);
    let sink = CqlConfig { create: true, ..role(&admin, "sink", &[]) };
    let said = denied(CqlStore::open(sink.clone()));
    assert!(said.contains("GRANT CREATE ON ALL KEYSPACES") && said.contains(&config.keyspace), "{said}");
    migrate(config.clone()).unwrap();
    for right in ["SELECT", "MODIFY"] {
        admin.try_run(&format!("GRANT {right} ON KEYSPACE {{k}} TO {{k}}_sink")).unwrap();
    }
    // `create` asks for nothing where nothing is to be made. The server may remember for a while what the role lacked.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while let Err(error) = CqlStore::open(sink.clone()) {
        assert!(std::time::Instant::now() < deadline, "{error}");
    }
}

#[test]
fn a_login_that_is_refused_is_said_without_its_password() {
    let Some(config) = secured("a_login_that_is_refused_is_said_without_its_password") else { return };
    let said = denied(CqlStore::open(CqlConfig { login: None, ..config.clone() }));
    assert!(said.contains("asks for a login") && said.contains(&config.nodes[0]), "{said}");
    let login = Some(Login { user: "nobody".to_owned(), password: "hunter2".to_owned() });
    let said = denied(CqlStore::open(CqlConfig { login, ..config }));
    assert!(said.contains("refuses the role `nobody`") && !said.contains("hunter2"), "{said}");
}

#[cfg(feature = "tls")]
#[test]
fn a_connection_is_encrypted_and_the_node_must_prove_itself() {
    let test = "a_connection_is_encrypted_and_the_node_must_prove_itself";
    let Some(config) = secured(test) else { return };
    let Some(ca) = named("HIGHWATER_TEST_SECURED_CQL_CA", test) else { return };
    let with = |ca: Option<std::path::PathBuf>| CqlConfig {
        tls: Some(Tls { ca, certificate: None }),
        ..config.clone()
    };
    let _tidy = Tidy(config.clone(), &[]);
    CqlStore::open(with(Some(ca.into()))).unwrap().count().unwrap();
    // Nobody the system trusts has signed it.
    let error = CqlStore::open(with(None)).unwrap_err();
    assert!(matches!(&error, StoreError::Retry(text) if text.contains("certificate")), "{error:?}");
    let said = fatal(CqlStore::open(with(Some("/nowhere/ca.pem".into()))));
    assert!(said.contains("/nowhere/ca.pem"), "{said}");
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_build_without_encryption_refuses_to_do_without() {
    let mut config = CqlConfig::new(vec!["127.0.0.1:1".to_owned()], "k");
    config.tls = Some(Tls::default());
    let said = fatal(CqlStore::open(config));
    assert!(said.contains("lacks the feature `tls`"), "{said}");
}
