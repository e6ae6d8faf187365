//! Components that are turned away before anything of them runs.

#![allow(clippy::unwrap_used, reason = "what fails in here fails the test")]

use scoring_host::{Host, HostLimits, Plugin, Refused};

const COMPONENT: [u8; 8] = [0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00];
const CORE_MODULE: [u8; 8] = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

/// A component that imports an empty instance of that name and does nothing.
fn importing(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    let mut bytes = COMPONENT.to_vec();
    bytes.extend([0x07, 3, 1, 0x42, 0]); // type section: one instance type without declarations
    bytes.extend([0x0a, length + 5, 1, 0x00, length]); // import section: one import by plain name ...
    bytes.extend(name.as_bytes());
    bytes.extend([0x05, 0]); // ... of an instance of type 0
    bytes
}

fn host() -> Host {
    Host::new(HostLimits::default()).unwrap()
}

#[test]
fn a_foreign_import_is_refused_by_name() {
    for name in [
        "wasi:sockets/tcp-create-socket@0.2.0",
        "wasi:sockets/tcp@0.2.0",
        "wasi:sockets/instance-network@0.2.9",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:clocks/wall-clock@0.3.0",
        "wasi:clocks/timezone@0.2.0",
        "highwater:scoring/host-log@0.1.0",
        "highwater:scoring/host-log@2.0.0",
        "highwater:scoring/host-file@1.0.0",
    ] {
        let refused = host().component(&importing(name), None).err();
        assert_eq!(refused, Some(Refused::Import(name.to_owned())));
    }
}

#[test]
fn of_wasi_what_can_be_inert_is_let_in() {
    for name in ["wasi:clocks/wall-clock@0.2.0", "wasi:random/random@0.2.9", "wasi:filesystem/types@0.2.3"] {
        assert!(host().component(&importing(name), None).is_ok(), "{name}");
    }
}

#[test]
fn later_versions_of_the_contract_are_the_contract() {
    for version in ["1.0.7", "1.2.0"] {
        let name = format!("highwater:scoring/host-log@{version}");
        assert!(host().component(&importing(&name), None).is_ok(), "{name}");
    }
}

#[test]
fn what_is_no_component_is_refused() {
    let host = host();
    for bytes in [&b""[..], b"not wasm", &CORE_MODULE, &COMPONENT[..5]] {
        let refused = host.component(bytes, None).err();
        assert!(matches!(refused, Some(Refused::NotAComponent(_))), "{bytes:?}: {refused:?}");
    }
}

/// A file whose end is missing, wherever it was cut.
#[test]
fn what_people_take_for_a_component_is_told_by_name() {
    let host = host();
    let core = b"\0asm\x01\0\0\0 and sections";
    for (bytes, told) in [
        (core.as_slice(), "a core WebAssembly module; `wasm-tools component new`"),
        (b"<!doctype html>", "no WebAssembly at all: these bytes begin with \"<!doctyp\""),
        (b"", "no WebAssembly at all"),
    ] {
        let refused = host.component(bytes, None).err().map(|why| why.to_string()).unwrap_or_default();
        assert!(refused.starts_with("not a component: ") && refused.contains(told), "{refused}");
    }
}

#[test]
fn a_truncated_component_is_refused() {
    static FIXTURES: &[u8] = include_bytes!("../../plugins/prebuilt/fixtures.wasm");
    let host = host();
    for length in [9, 100, FIXTURES.len() / 2, FIXTURES.len() - 1] {
        let refused = host.component(&FIXTURES[..length], None).err();
        assert!(matches!(refused, Some(Refused::NotAComponent(_))), "{length} bytes: {refused:?}");
    }
}

#[test]
fn a_component_of_another_world_is_refused() {
    let host = host();
    let component = host.component(&COMPONENT, None).unwrap();
    let refused = Plugin::new(&host, &component, "{}", None, 0).err();
    assert!(matches!(refused, Some(Refused::World(_))), "{refused:?}");
}

#[test]
fn size_is_bounded() {
    let host = Host::new(HostLimits { component_bytes_max: 7, ..HostLimits::default() }).unwrap();
    let refused = host.component(&COMPONENT, None).err();
    assert_eq!(refused, Some(Refused::TooLarge { bytes: 8, bytes_max: 7 }));
}
