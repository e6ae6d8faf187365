//! With trusted keys, only bytes that one of them has signed are run. The component and the signatures of two keys in
//! `tests/data/signed` were written by minisign 0.11 (the fixture as it was then; the keys were thrown away).

use crate::rig::{each, fixture, limits, run, scores, trial};
use schemas::pipeline::Model;
use scoring::shipped::{self, Shipped};
use scoring::{
    ComponentSource, Directory, Lane, LoadError, Loader, LoaderConfig, Places, SignatureError, TrustedKeys,
};
use std::fs;
use std::path::Path;
use std::sync::Arc;

static COMPONENT: &[u8] = include_bytes!("../data/signed/model.wasm");
static SIGNATURE: &str = include_str!("../data/signed/model.wasm.minisig");
static OTHERS: &str = include_str!("../data/signed/other.minisig");
const TRUSTED: &str = "RWSKsoOa6OAS4oKMoCB8QI9LEiOColQw87v5sWRtFcrknfsM/Ysg+rYi";
const TRUSTED_ID: &str = "E212E0E89A83B28A";
const OTHER_ID: &str = "F34C76CD8D8ED8E5";

fn loader(dir: &Path, keys: &[&str]) -> Loader {
    let places: Vec<Arc<dyn ComponentSource>> = vec![Arc::new(Shipped), Arc::new(Directory::new(dir))];
    let config = LoaderConfig {
        cache_dir: Some(dir.join("code")),
        limits: limits(),
        trusted_keys: TrustedKeys::parse(keys).unwrap(),
        ..LoaderConfig::default()
    };
    Loader::new(Arc::new(Places(places)), config).unwrap()
}

fn model(component: &[u8]) -> Model {
    Model { component: shipped::digest_of(component), ..fixture("none", each(&["a"])) }
}

/// A directory with the component and such a signature.
fn directory(component: &[u8], signature: Option<&str>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("model.wasm"), component).unwrap();
    if let Some(signature) = signature {
        fs::write(dir.path().join("model.wasm.minisig"), signature).unwrap();
    }
    dir
}

fn refusal(dir: &tempfile::TempDir, component: &[u8]) -> SignatureError {
    match loader(dir.path(), &[TRUSTED]).load(&[model(component)]) {
        Err(LoadError::Signature { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_trusted_key_has_signed_runs() {
    let dir = directory(COMPONENT, Some(SIGNATURE));
    let set = loader(dir.path(), &[TRUSTED]).load(&[model(COMPONENT)]).unwrap();
    let found = run(&mut Lane::new(&set), &[trial(0, 1.0), trial(0, 2.0)], 2, 0);
    assert_eq!(scores(&found), [0.0, 1.0]);
}

#[test]
fn unsigned_is_refused_with_file_and_key() {
    let dir = directory(COMPONENT, None);
    let told = refusal(&dir, COMPONENT).to_string();
    assert!(told.contains("model.wasm is not signed") && told.contains(TRUSTED_ID), "{told}");
}

#[test]
fn a_strangers_signature_is_refused_with_both_keys() {
    let dir = directory(COMPONENT, Some(OTHERS));
    let told = refusal(&dir, COMPONENT).to_string();
    assert!(told.contains("model.wasm is signed by the key") && told.contains(OTHER_ID), "{told}");
    assert!(told.contains(TRUSTED_ID), "{told}");
}

#[test]
fn one_bit_more_or_less_is_not_what_was_signed() {
    let mut bytes = COMPONENT.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let dir = directory(&bytes, Some(SIGNATURE));
    assert!(matches!(refusal(&dir, &bytes), SignatureError::Wrong { key, .. } if key == TRUSTED_ID));
}

/// Machine code that was compiled without keys is no way around them.
#[test]
fn the_cache_is_no_way_around_the_signature() {
    let dir = directory(COMPONENT, None);
    loader(dir.path(), &[]).load(&[model(COMPONENT)]).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("code")).unwrap().count(), 1, "it is in the cache");
    assert!(matches!(refusal(&dir, COMPONENT), SignatureError::Unsigned { .. }));
}

#[test]
fn what_comes_with_this_build_needs_no_signature() {
    let dir = tempfile::tempdir().unwrap();
    let set = loader(dir.path(), &[TRUSTED]).load(&[crate::rig::ewma("{}", each(&["a"]))]).unwrap();
    assert_eq!(set.models().len(), 1);
}
