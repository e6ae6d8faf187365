//! The fleet: devices by id, all or those that a text is found in.
//!
//! The search reads the list and looks, for any store; it is bounded by rows read, and a page that ends early for
//! that goes on with `next` like any other.

use super::queries::listed;
use super::{Api, Known, answer, store_problem};
use crate::rows;
use axum::extract::State;
use axum::response::Response;
use chassis::problem::Problem;
use serde_json::Value;
use std::sync::Arc;
use store::port::{DeviceRow, Listed, Page};

/// Devices read for one page of a search.
const SEARCHED_MAX: u32 = 20_000;

/// Devices read at a time.
const SLICE: u32 = 500;

pub(super) async fn devices(State(api): State<Arc<Api>>, Known(given): Known) -> Result<Response, Problem> {
    let page = given.page(api.config.page_items, api.config.page_items_max)?;
    let (wanted, latest) = (given.text("q").map(str::to_lowercase), given.flag("latest")?);
    let value = api.ask(move |api| list(api, page, wanted.as_deref(), latest)).await?;
    Ok(answer(&value))
}

fn list(api: &Api, page: Page, wanted: Option<&str>, latest: bool) -> Result<Value, Problem> {
    let found = match wanted {
        None => api.store.devices(&page).map_err(store_problem)?,
        Some(wanted) => search(api, page, wanted)?,
    };
    let mut value = listed(&found, |row| rows::device(row, None));
    let kept = api.store.totals().map_err(store_problem)?;
    value["total"] = kept.map(|totals| totals.devices).into();
    if latest {
        for (row, item) in found.items.iter().zip(value["items"].as_array_mut().into_iter().flatten()) {
            let latest = api.store.latest(&row.device_id).map_err(store_problem)?;
            item["latest"] = latest.iter().map(rows::window).collect();
        }
    }
    Ok(value)
}

fn search(api: &Api, mut page: Page, wanted: &str) -> Result<Listed<DeviceRow>, Problem> {
    let limit = page.limit;
    let mut items: Vec<DeviceRow> = Vec::new();
    let mut searched = 0;
    loop {
        // Never more than fit, so that a cursor between two slices is also one between two items of the answer.
        let room = limit - u32::try_from(items.len()).unwrap_or(limit);
        page.limit = room.min(SLICE);
        let found = api.store.devices(&page).map_err(store_problem)?;
        searched += page.limit;
        items.extend(found.items.into_iter().filter(|row| matches(row, wanted)));
        if found.next.is_none() || items.len() >= limit as usize || searched >= SEARCHED_MAX {
            return Ok(Listed { items, next: found.next });
        }
        page.cursor = found.next;
    }
}

/// Whether the text, in lower case, is in the id, the site, the model or a tag.
fn matches(row: &DeviceRow, wanted: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(wanted);
    has(&row.device_id)
        || row.metadata.as_ref().is_some_and(|latest| {
            let device = &latest.device;
            device.site.as_deref().is_some_and(has)
                || device.model.as_deref().is_some_and(has)
                || device.tags.values().any(|tag| has(tag))
        })
}
