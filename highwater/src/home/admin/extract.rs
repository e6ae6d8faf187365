//! Path, query and body of a request; what cannot be read is a problem like any other error.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use chassis::problem::Problem;
use serde::de::DeserializeOwned;

/// A piece of the path.
pub(super) struct Path<T>(pub(super) T);

/// The query.
pub(super) struct Query<T>(pub(super) T);

/// A JSON body.
pub(super) struct Sent<T>(pub(super) T);

/// What is wrong with the request.
pub(super) struct Unreadable(StatusCode, String);

impl IntoResponse for Unreadable {
    fn into_response(self) -> Response {
        Problem::new(self.0, "unreadable", "The request cannot be read", self.1).into_response()
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Unreadable;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Unreadable> {
        let found = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        found.map(|found| Self(found.0)).map_err(|why| Unreadable(why.status(), why.body_text()))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Unreadable;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Unreadable> {
        let found = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        found.map(|found| Self(found.0)).map_err(|why| Unreadable(why.status(), why.body_text()))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = Unreadable;

    async fn from_request(request: Request, state: &S) -> Result<Self, Unreadable> {
        let found = Json::<T>::from_request(request, state).await;
        found.map(|found| Self(found.0)).map_err(|why| Unreadable(why.status(), why.body_text()))
    }
}
