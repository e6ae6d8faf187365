//! Components from elsewhere: what compiling may take, whose may run, and what is left when one fails.

use crate::totals;
use anyhow::{Context, Result, ensure};
use e2e::{Finished, Home, WAIT_MAX, eventually, highwater};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A guest that does what its settings say on the value 666.
static FIXTURES: &[u8] = include_bytes!("../../../scoring/plugins/prebuilt/fixtures.wasm");
/// The same, as it was when these signatures were made, and two keys' signatures of it.
static SIGNED: &[u8] = include_bytes!("../../../scoring/tests/data/signed/model.wasm");
static SIGNATURE: &str = include_str!("../../../scoring/tests/data/signed/model.wasm.minisig");
static OTHERS: &str = include_str!("../../../scoring/tests/data/signed/other.minisig");
const TRUSTED: &str = "RWSKsoOa6OAS4oKMoCB8QI9LEiOColQw87v5sWRtFcrknfsM/Ysg+rYi";

/// A number as WebAssembly writes it.
fn leb(mut number: usize, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn section(id: u8, content: &[u8], into: &mut Vec<u8>) {
    into.push(id);
    leb(content.len(), into);
    into.extend_from_slice(content);
}

/// A component whose core module has so many functions of this body.
fn component(functions: usize, body: &[u8]) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(1, &[1, 0x60, 0, 0], &mut module);
    let mut types = Vec::new();
    leb(functions, &mut types);
    types.resize(types.len() + functions, 0);
    section(3, &types, &mut module);
    let mut code = Vec::new();
    leb(functions, &mut code);
    for _ in 0..functions {
        leb(body.len(), &mut code);
        code.extend_from_slice(body);
    }
    section(10, &code, &mut module);
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    section(1, &module, &mut component);
    component
}

/// As many instructions as a function may have, each needing the one before.
fn huge_functions() -> Vec<u8> {
    // One local i64; local.get 0, local.get 0, i64.mul, local.set 0.
    let mut body = vec![1, 1, 0x7e];
    body.extend([0x20, 0, 0x20, 0, 0x7e, 0x21, 0].repeat(1_000_000));
    body.push(0x0b);
    component(4, &body)
}

/// Loops in loops, each with a way back, and as many locals that change in the innermost: every local has a place of its
/// own in every loop. 48 KiB that take the compiler more than ten seconds.
fn nested_loops() -> Vec<u8> {
    const DEPTH: usize = 3_000;
    // One group of so many i32.
    let mut body = vec![1];
    leb(DEPTH, &mut body);
    body.push(0x7f);
    body.extend([0x03, 0x40].repeat(DEPTH));
    for local in 0..DEPTH {
        // local.get, i32.const 1, i32.add, local.set.
        body.push(0x20);
        leb(local, &mut body);
        body.extend([0x41, 1, 0x6a, 0x21]);
        leb(local, &mut body);
    }
    // local.get 0, br_if 0, end.
    body.extend([0x20, 0, 0x0d, 0, 0x0b].repeat(DEPTH));
    body.push(0x0b);
    component(1, &body)
}

/// A home whose components lie in a directory of its own.
fn home_with(components: &[(&str, &[u8])], config: &str) -> Result<(Home, PathBuf)> {
    let home = Home::new()?;
    let directory = home.path().join("components");
    fs::create_dir(&directory).context("making a directory")?;
    for (name, bytes) in components {
        fs::write(directory.join(name), bytes).context("writing a component")?;
    }
    let set = format!("scoring.component-dir={}", directory.display());
    Ok((home.configured(config)?.set(&set), directory))
}

fn model(name: &str, settings: &str) -> String {
    format!("[[model]]\nname = \"{name}\"\neach = [\"temp\"]\nthreshold = 1e9\nsettings = {settings}\n")
}

fn refused(ended: &Finished, words: &[&str]) -> Result<()> {
    ensure!(ended.code == Some(1), "{ended:?}");
    for word in words {
        ensure!(ended.stderr.contains(word), "no {word:?} in {}", ended.stderr);
    }
    Ok(())
}

/// A one-shot run on this home, which must not come to anything.
fn run_until_end(home: &Home) -> Result<Finished> {
    home.command(&["process", "--until-end"], WAIT_MAX)
}

#[test]
fn a_component_made_to_be_compiled_for_ever_is_stopped_by_time() -> Result<()> {
    let (home, _) = home_with(&[("loops.wasm", &nested_loops())], &model("loops", "{}"))?;
    let home = home.set("scoring.compile-time-max=1s");
    refused(&run_until_end(&home)?, &["model `loops`", "compiling it takes more than 1s"])
}

#[test]
fn a_component_made_to_fill_the_memory_is_stopped_by_memory() -> Result<()> {
    let (home, _) = home_with(&[("huge.wasm", &huge_functions())], &model("huge", "{}"))?;
    let home = home.set("scoring.compile-memory-max=256MiB");
    refused(&run_until_end(&home)?, &["model `huge`", "more than 256 MiB of memory"])
}

/// What was in force stays in force, and nobody is kept waiting for long.
#[tokio::test(flavor = "multi_thread")]
async fn a_compile_bomb_that_is_applied_is_refused_and_the_stream_goes_on() -> Result<()> {
    let (home, _) = home_with(&[("loops.wasm", &nested_loops())], &model("ewma", "{}"))?;
    let home = home.set("scoring.compile-time-max=2s");
    let instance = home.start().await?;
    let reading = |n: u32| vec![format!(r#"{{"device_id":"a","temp":{n}}}"#)];
    instance.post_lines(&reading(1)).await?;
    let in_force = instance.get("/admin/v1/config").await?;

    let bad = home.path().join("bad.toml");
    fs::write(&bad, model("loops", "{}")).context("writing a configuration")?;
    let directory = home.path().join("components").display().to_string();
    let bad = bad.display().to_string();
    let set = format!("scoring.component-dir={directory}");
    let args = ["config", "apply", "--config", &bad, "--set", &set, "--url", instance.admin_url()];
    let applied = highwater(&args, WAIT_MAX)?;
    refused(&applied, &["model `loops`", "compiling it takes more than 2s"])?;

    instance.post_lines(&reading(2)).await?;
    let books = instance.settled().await?;
    ensure!(totals(&books, "aggregated") == 2, "{books}");
    ensure!(instance.get("/admin/v1/config").await? == in_force, "another generation is in force");
    ensure!(instance.metric("highwater_model_rows_total").await? >= 2.0, "no rows are told");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_trusted_key_has_signed_runs() -> Result<()> {
    let config = model("model", r#"{ mode = "none" }"#);
    let (home, directory) = home_with(&[("model.wasm", SIGNED)], &config)?;
    let home = home.set(&format!("scoring.trusted-keys=[\"{TRUSTED}\"]"));
    refused(&run_until_end(&home)?, &["model.wasm is not signed", "E212E0E89A83B28A"])?;
    let signature = directory.join("model.wasm.minisig");
    fs::write(&signature, OTHERS).context("writing a signature")?;
    refused(&run_until_end(&home)?, &["signed by the key F34C76CD8D8ED8E5", "E212E0E89A83B28A"])?;
    fs::write(&signature, SIGNATURE).context("writing a signature")?;
    let instance = home.start().await?;
    instance.post_lines(&[r#"{"device_id":"a","temp":1}"#.to_owned()]).await?;
    let books = instance.settled().await?;
    ensure!(totals(&books, "aggregated") == 1, "{books}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_fails_on_is_kept_and_fails_again() -> Result<()> {
    let config = model("fixture", r#"{ mode = "panic" }"#);
    let (home, directory) = home_with(&[("fixture.wasm", FIXTURES)], &config)?;
    let instance = home.start().await?;
    let lines: Vec<String> =
        [1, 2, 666, 3].iter().map(|value| format!(r#"{{"device_id":"a","temp":{value}}}"#)).collect();
    instance.post_lines(&lines).await?;
    let books = instance.settled().await?;
    ensure!(totals(&books, "aggregated") == 4, "{books}");
    let kept = home.path().join("data/failed-batches");
    let file = eventually("the failed batch is saved", WAIT_MAX, async || {
        let mut files = fs::read_dir(&kept)?.collect::<Result<Vec<_>, _>>()?;
        files.retain(|file| file.path().extension().is_some_and(|extension| extension == "json"));
        ensure!(files.len() == 1, "{files:?}");
        Ok(files.remove(0).path())
    })
    .await?;
    ensure!(instance.metric("highwater_scoring_failed_batches_total").await? >= 1.0, "it is not counted");

    let component = directory.join("fixture.wasm").display().to_string();
    let file = file.display().to_string();
    let again = highwater(&["model", "run", &component, "--batch", &file, "--json"], WAIT_MAX)?;
    ensure!(again.code == Some(3), "{again:?}");
    let told = again.json()?;
    ensure!(told["reproduced"] == true && told["same_component"] == true, "{told}");
    ensure!(told["recorded"]["kind"] == "trap", "{told}");
    let trace = told["rows"][0]["failure"]["trace"].to_string();
    ensure!(trace.contains("misbehave"), "no name of the function in {trace}");
    ensure!(told["recorded"]["log"].to_string().contains("poisoned on purpose"), "{told}");

    let text = highwater(&["model", "run", &component, "--batch", &file], WAIT_MAX)?;
    ensure!(text.stdout.contains("the same failure as recorded"), "{text:?}");
    let profile =
        highwater(&["model", "profile", "ewma", "--rows", "64", "--json"], Duration::from_secs(120))?;
    let told = profile.json()?;
    ensure!(told["rows"] == 64 && told["functions"][0]["own"].as_f64() > Some(0.0), "{told}");
    Ok(())
}
