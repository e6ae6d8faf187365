//! Who may pass.

use super::*;
use axum::http::HeaderValue;

fn keys(entries: &[(&str, &str, &[Role])]) -> Keys {
    let key = entries
        .iter()
        .map(|(name, key, roles)| RawKey {
            name: Some((*name).to_owned()),
            roles: roles.to_vec(),
            hash: Some(hash_of(key)),
        })
        .collect();
    let mut problems = Problems::default();
    let keys = RawAuth { key, insecure: None }.resolve("auth", &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    keys
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn status(keys: &Keys, pairs: &[(&'static str, &str)], role: Role) -> u16 {
    match keys.admit(&headers(pairs), &Uri::from_static("/v1/x"), role) {
        Ok(_) => 200,
        Err(problem) => problem.status().as_u16(),
    }
}

#[test]
fn a_generated_key_opens_what_its_hash_was_given() {
    let made = generate().unwrap();
    assert!(made.key.expose().len() > 40 && made.key.expose().starts_with(KEY_PREFIX));
    assert_eq!(hash_of(made.key.expose()), made.hash);
    assert_ne!(generate().unwrap().hash, made.hash);
    let keys = keys(&[("fleet", made.key.expose(), &[Role::Ingest])]);
    let bearer = format!("Bearer {}", made.key.expose());
    assert_eq!(status(&keys, &[("authorization", &bearer)], Role::Ingest), 200);
    assert_eq!(status(&keys, &[("x-api-key", made.key.expose())], Role::Ingest), 200);
    assert_eq!(status(&keys, &[("authorization", &bearer)], Role::Read), 403);
}

#[test]
fn a_key_opens_its_roles_only_and_admin_opens_all() {
    let keys = keys(&[
        ("page", "r", &[Role::Read]),
        ("both", "b", &[Role::Read, Role::Ingest]),
        ("root", "a", &[Role::Admin]),
    ]);
    for (key, role, expected) in [
        ("r", Role::Read, 200),
        ("r", Role::Ingest, 403),
        ("r", Role::Admin, 403),
        ("b", Role::Ingest, 200),
        ("a", Role::Ingest, 200),
        ("a", Role::Admin, 200),
        ("", Role::Read, 401),
        ("rr", Role::Read, 401),
        ("R", Role::Read, 401),
    ] {
        assert_eq!(status(&keys, &[("x-api-key", key)], role), expected, "{key} {role:?}");
    }
    assert_eq!(status(&keys, &[], Role::Read), 401);
    for nonsense in ["Bearer", "Digest r", "Basic !!", "Basic cg=="] {
        assert_eq!(status(&keys, &[("authorization", nonsense)], Role::Read), 401, "{nonsense}");
    }
    let admitted = keys.admit(&headers(&[("x-api-key", "r")]), &Uri::from_static("/"), Role::Read).unwrap();
    assert_eq!(admitted, Caller { key: Some("page".to_owned()) });
}

#[test]
fn a_password_that_a_browser_adds_by_itself_does_not_serve_other_sites() {
    let keys = keys(&[("page", "r", &[Role::Read])]);
    let basic = format!("Basic {}", STANDARD.encode("anybody:r"));
    let asked = |origin: &str| {
        status(
            &keys,
            &[("authorization", &basic), ("host", "hw.example:8080"), ("origin", origin)],
            Role::Read,
        )
    };
    assert_eq!(status(&keys, &[("authorization", &basic), ("host", "hw.example:8080")], Role::Read), 200);
    assert_eq!(asked("http://hw.example:8080"), 200);
    assert_eq!((asked("http://evil.example"), asked("null"), asked("http://hw.example:80")), (403, 403, 403));
}

#[test]
fn without_keys_only_this_machine_and_no_foreign_page_is_served() {
    let open = Keys::none();
    for (host, expected) in [
        ("127.0.0.1:8080", 200),
        ("localhost:8080", 200),
        ("[::1]:8080", 200),
        ("127.9.9.9", 200),
        ("rebound.example:8080", 403),
        ("localhost.evil.example", 403),
        ("10.0.0.7:8080", 403),
    ] {
        assert_eq!(status(&open, &[("host", host)], Role::Admin), expected, "{host}");
    }
    assert_eq!(
        status(&open, &[("host", "localhost:1"), ("origin", "http://evil.example")], Role::Ingest),
        403
    );
    assert_eq!(
        status(&open, &[("host", "localhost:1"), ("origin", "http://localhost:1")], Role::Ingest),
        200
    );
    let insecure = Keys { keys: Vec::new(), insecure: true };
    assert_eq!(status(&insecure, &[("host", "10.0.0.7:8080")], Role::Admin), 200);
}

#[test]
fn listening_beyond_loopback_needs_keys_or_the_word() {
    let refused = |keys: &Keys, address: &str| {
        let mut problems = Problems::default();
        keys.check_address("ingest.listen", address.parse().unwrap(), &mut problems);
        !problems.is_empty()
    };
    for (address, expected) in [
        ("127.0.0.1:1", false),
        ("[::1]:1", false),
        ("0.0.0.0:1", true),
        ("[::]:1", true),
        ("10.0.0.7:1", true),
    ] {
        assert_eq!(refused(&Keys::none(), address), expected, "{address}");
        assert!(!refused(&keys(&[("a", "a", &[Role::Admin])]), address));
        assert!(!refused(&Keys { keys: Vec::new(), insecure: true }, address));
    }
    assert!(!refused(&Keys::none(), "[::ffff:127.0.0.1]:1"));
}

#[test]
fn mistakes_in_keys_are_all_reported_and_no_hash_is_shown() {
    let raw = RawAuth {
        key: vec![
            RawKey { name: None, roles: vec![], hash: Some("hunter2".to_owned()) },
            RawKey {
                name: Some("b".to_owned()),
                roles: vec![Role::Read],
                hash: Some(format!("sha256:{}", "g".repeat(64))),
            },
        ],
        insecure: None,
    };
    let mut problems = Problems::default();
    let keys = raw.resolve("auth", &mut problems);
    let found: Vec<&str> = problems.list().iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(found, ["auth.key.0.name", "auth.key.0.roles", "auth.key.0.hash", "auth.key.1.hash"]);
    assert!(keys.is_empty() && !format!("{problems:?}").contains("hunter2"));
}
