//! Tables that are made, by one or by many at once, and keyspaces that are not as they should be.

use super::*;
use scylla::value::CqlValue;
use std::net::TcpListener;
use std::time::Duration;

fn text(value: Option<&CqlValue>) -> &str {
    value.and_then(CqlValue::as_text).map_or("", String::as_str)
}

#[test]
fn openers_at_once_make_the_tables_once() {
    let Some(node) = node("openers_at_once_make_the_tables_once") else { return };
    // Again and again: what meets depends on the scheduler.
    for _ in 0..4 {
        let here = Keyspace(CqlConfig::new(vec![node.clone()], &fresh()));
        std::thread::scope(|scope| {
            let openers: Vec<_> = (0..4).map(|_| scope.spawn(|| CqlStore::open(here.0.clone()))).collect();
            for opener in openers {
                opener.join().unwrap().unwrap();
            }
        });
        let client = Client::new(&here.0);
        let rows = client.rows("SELECT name, version FROM {k}.schema_version");
        let [row] = rows.as_slice() else { panic!("the lock is left: {rows:?}") };
        let version = Some(&CqlValue::Int(schema::VERSION));
        assert_eq!((text(row[0].as_ref()), row[1].as_ref()), ("tables", version));
    }
}

#[test]
fn tables_left_half_made_are_finished_once_the_lock_is_gone() {
    let Some(node) = node("tables_left_half_made_are_finished_once_the_lock_is_gone") else { return };
    let here = scratch(&node);
    let client = Client::new(&here.config);
    client.try_run("DROP TABLE {k}.scores").unwrap();
    client.try_run("DELETE FROM {k}.schema_version WHERE name = 'tables'").unwrap();
    let insert =
        "INSERT INTO {k}.schema_version (name, holder) VALUES ('lock', 'dead') IF NOT EXISTS USING TTL 1";
    client.try_run(insert).unwrap();
    migrate(CqlConfig { create: false, ..here.config.clone() }).unwrap();
    let reopened = CqlStore::open(CqlConfig { create: false, ..here.config.clone() }).unwrap();
    assert_eq!(reopened.count().unwrap(), StoreTotals::default());
}

#[test]
fn keyspaces_that_are_not_as_they_should_be_are_named() {
    let Some(node) = node("keyspaces_that_are_not_as_they_should_be_are_named") else { return };
    let fatal = |config: &CqlConfig| match CqlStore::open(config.clone()) {
        Err(StoreError::Fatal(text)) => text,
        other => panic!("{other:?}"),
    };
    let here = scratch(&node);
    let client = Client::new(&here.config);
    client.try_run("UPDATE {k}.schema_version SET version = 99 WHERE name = 'tables'").unwrap();
    let said = fatal(&here.config);
    assert!(said.contains("version 99") && said.contains("run a newer highwater"), "{said}");

    let missing = CqlConfig { create: false, ..CqlConfig::new(vec![node.clone()], &fresh()) };
    let said = fatal(&missing);
    assert!(said.contains("does not exist") && said.contains(&missing.keyspace), "{said}");

    client.try_run("DROP TABLE {k}.schema_version").unwrap();
    let said = fatal(&here.config);
    assert!(said.contains("tables of another program"), "{said}");

    let elsewhere = CqlConfig { local_dc: Some("moon".to_owned()), ..here.config.clone() };
    let said = fatal(&elsewhere);
    assert!(said.contains("no data centre `moon`") && said.contains("known are"), "{said}");
}

#[test]
fn rows_that_expire_are_compacted_by_time() {
    let Some(node) = node("rows_that_expire_are_compacted_by_time") else { return };
    let here = scratch(&node);
    let client = Client::new(&here.config);
    let rows = client.rows(&format!(
        "SELECT table_name, compaction FROM system_schema.tables WHERE keyspace_name = '{}'",
        here.config.keyspace
    ));
    let found: std::collections::BTreeMap<&str, String> =
        rows.iter().map(|row| (text(row[0].as_ref()), format!("{:?}", row[1]))).collect();
    for (table, size) in
        [("windows", "3"), ("scores", "1"), ("alerts_by_device", "13"), ("alerts_by_day", "13")]
    {
        let compaction = &found[table];
        assert!(compaction.contains("TimeWindowCompactionStrategy"), "{table} {compaction}");
        let size = format!("Text(\"compaction_window_size\"), Text(\"{size}\")");
        assert!(compaction.contains(&size) && compaction.contains("DAYS"), "{table} {compaction}");
    }
    assert!(!found["latest"].contains("TimeWindow"), "{found:?}");
}

#[test]
fn a_cluster_that_is_not_there_is_named_and_to_be_tried_again() {
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = CqlConfig::new(vec![free.to_string()], "k");
    config.connect_timeout = Duration::from_secs(2);
    let error = CqlStore::open(config).unwrap_err();
    assert!(matches!(&error, StoreError::Retry(text) if text.contains(&free.to_string())), "{error:?}");
}
