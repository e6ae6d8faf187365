//! A home's log, read for what a model would have been given. The embedded file must be nobody else's; a Kafka journal
//! may be read beside any number of others.

use super::open;
use crate::config::Settings;
use anyhow::{Context, Result, anyhow, bail};
use processor::ops::{self, Exported, OpsError, TrainingRow};
use schemas::Micros;
use schemas::pipeline::{Model, Pipeline};
use std::ops::Range;

/// Gives out the rows of a model: the file's, if there is one in the file, else that of the configuration in force. `begin`
/// is told which one before the first row.
///
/// # Errors
/// When there is no such home or model, another process holds the home's file, or what `each` says.
pub(crate) fn training_rows(
    settings: &Settings,
    (name, file): (&str, Option<&Pipeline>),
    span: Range<Micros>,
    begin: &mut dyn FnMut(&Model) -> Result<()>,
    each: &mut dyn FnMut(&TrainingRow<'_>) -> Result<(), OpsError>,
) -> Result<Exported> {
    open::NoRegistry::check(settings)?;
    if let Some(file) = settings.journal.file().filter(|file| !file.exists()) {
        bail!("there is no {}: name the directory with --data", file.display());
    }
    let journal = match open::journal(settings) {
        Err(why) if why.is_in_use() => {
            bail!(
                "an instance has this home open: rows are read from a home that is at rest, or from a copy of its journal"
            )
        }
        opened => opened.map_err(open::NotOpen::into_error)?,
    };
    let exported = journal::ids::codec(journal.port()).context("the schema ids").and_then(|codec| {
        let port = journal.port();
        let model = match file.and_then(|pipeline| named(pipeline, name)) {
            Some(model) => model,
            None => in_force(&ops::in_force(&*port, &codec)?, name)?,
        };
        begin(&model)?;
        Ok(ops::training_rows(&*port, &codec, &model, span, each)?)
    });
    journal.close();
    exported
}

fn named(pipeline: &Pipeline, name: &str) -> Option<Model> {
    pipeline.models.iter().find(|model| model.name == name).cloned()
}

fn in_force(decided: &Option<ops::InForce>, name: &str) -> Result<Model> {
    let pipeline = decided.as_ref().map(|decided| &decided.pipeline);
    pipeline.and_then(|pipeline| named(pipeline, name)).ok_or_else(|| {
        let models = pipeline.map(|pipeline| pipeline.models.as_slice()).unwrap_or_default();
        let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        anyhow!(
            "no model called `{name}` is in force ({names}): --config FILE names a configuration that has one"
        )
    })
}
