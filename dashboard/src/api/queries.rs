//! One device, its series, scores and state; alerts; books, backlog and models.

use super::{Api, Known, answer, live_problem, store_problem};
use crate::live::{LiveView, Unavailable};
use crate::rows;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use chassis::problem::Problem;
use serde_json::{Value, json};
use std::sync::Arc;
use store::port::Listed;

type Answer = Result<Response, Problem>;

/// The path segment after it is decoded; ids never hold a slash, so that nothing is hidden behind one.
type DeviceId = Result<Path<String>, axum::extract::rejection::PathRejection>;

fn id_of(id: DeviceId) -> Result<String, Problem> {
    id.map(|Path(id)| id).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "bad-path", "The path cannot be read", error.body_text())
    })
}

fn unknown_device(id: &str) -> Problem {
    let detail = format!(
        "nothing is known of device `{id}`: it appears with its first stored window, alert or metadata \
         (`/v1/devices` lists those known)"
    );
    Problem::new(StatusCode::NOT_FOUND, "unknown-device", "Unknown device", detail)
}

/// A page of rows as JSON.
pub(super) fn listed<T>(found: &Listed<T>, row: impl Fn(&T) -> Value) -> Value {
    json!({ "items": found.items.iter().map(row).collect::<Vec<_>>(), "next": found.next })
}

pub(super) async fn device(State(api): State<Arc<Api>>, id: DeviceId, _: Known) -> Answer {
    let id = id_of(id)?;
    let value = api
        .ask(move |api| {
            let row = api.store.device(&id).map_err(store_problem)?.ok_or_else(|| unknown_device(&id))?;
            let latest = api.store.latest(&id).map_err(store_problem)?;
            Ok(rows::device(&row, Some(&latest)))
        })
        .await?;
    Ok(answer(&value))
}

pub(super) async fn state(State(api): State<Arc<Api>>, id: DeviceId, _: Known) -> Answer {
    let id = id_of(id)?;
    let value = api
        .ask(move |api| {
            let state = api.live.device_state(&id).map_err(live_problem)?;
            state.ok_or_else(|| {
                let detail = format!(
                    "no partition holds state of device `{id}`: it has not sent a reading, or was forgotten after \
                     its retention"
                );
                Problem::new(StatusCode::NOT_FOUND, "no-state", "No state", detail)
            })
        })
        .await?;
    Ok(answer(&value))
}

pub(super) async fn windows(State(api): State<Arc<Api>>, id: DeviceId, Known(given): Known) -> Answer {
    let id = id_of(id)?;
    let latest = format!("`/v1/devices/{id}` lists what there is under `latest`");
    let metric = given.required("metric", &format!("the measurement's name; {latest}"))?.to_owned();
    let window = given.required("window", &format!("the window definition's name; {latest}"))?.to_owned();
    let (span, page) = (given.span()?, given.page(api.config.page_items, api.config.page_items_max)?);
    let value = api
        .ask(move |api| {
            let found = api.store.windows(&id, &metric, &window, span, &page).map_err(store_problem)?;
            Ok(listed(&found, rows::window))
        })
        .await?;
    Ok(answer(&value))
}

pub(super) async fn scores(State(api): State<Arc<Api>>, id: DeviceId, Known(given): Known) -> Answer {
    let id = id_of(id)?;
    let model = given.text("model").map(str::to_owned);
    let (span, page) = (given.span()?, given.page(api.config.page_items, api.config.page_items_max)?);
    let value = api
        .ask(move |api| {
            let found = api.store.scores(&id, model.as_deref(), span, &page).map_err(store_problem)?;
            Ok(listed(&found, rows::score))
        })
        .await?;
    Ok(answer(&value))
}

pub(super) async fn alerts(State(api): State<Arc<Api>>, Known(given): Known) -> Answer {
    let device = given.text("device").map(str::to_owned);
    let (span, page) = (given.span()?, given.page(api.config.page_items, api.config.page_items_max)?);
    let value = api
        .ask(move |api| {
            let found = api.store.alerts(device.as_deref(), span, &page).map_err(store_problem)?;
            Ok(listed(&found, rows::alert))
        })
        .await?;
    Ok(answer(&value))
}

async fn live(
    api: Arc<Api>,
    ask: impl FnOnce(&dyn LiveView) -> Result<Value, Unavailable> + Send + 'static,
) -> Answer {
    let value = api.ask(move |api| ask(&*api.live).map_err(live_problem)).await?;
    Ok(answer(&value))
}

pub(super) async fn books(State(api): State<Arc<Api>>, _: Known) -> Answer {
    live(api, |live| live.books()).await
}

pub(super) async fn lag(State(api): State<Arc<Api>>, _: Known) -> Answer {
    live(api, |live| live.lag()).await
}

pub(super) async fn models(State(api): State<Arc<Api>>, _: Known) -> Answer {
    live(api, |live| live.models()).await
}
