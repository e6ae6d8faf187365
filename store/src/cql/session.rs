//! Connections to the cluster: where, as whom, how long to wait, and what the driver repeats by itself.

use super::config::CqlConfig;
use super::fault;
use crate::port::StoreError;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{DbError, RequestAttemptError};
use scylla::policies::load_balancing::{DefaultPolicy, LoadBalancingPolicy};
use scylla::policies::retry::{RequestInfo, RetryDecision, RetryPolicy, RetrySession};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Connects and looks whether the cluster is what the settings say.
///
/// # Errors
/// [`StoreError::Retry`] when no node can be reached; [`StoreError::Fatal`] when it refuses the login or has no such
/// data centre.
pub(super) async fn connect(config: &CqlConfig) -> Result<Session, StoreError> {
    let place = config.place();
    let user = config.login.as_ref().map(|login| login.user.as_str());
    let profile = ExecutionProfile::builder()
        .consistency(config.consistency.into())
        .request_timeout(Some(config.request_timeout))
        .load_balancing_policy(balancing(config))
        .retry_policy(Arc::new(AnotherNodeOnce))
        // A second copy of a slow request is the last thing an overloaded cluster needs.
        .speculative_execution_policy(None)
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.nodes)
        .connection_timeout(config.connect_timeout)
        .metadata_request_clientside_timeout(config.request_timeout)
        .default_execution_profile_handle(profile.into_handle())
        .keyspaces_to_fetch([config.keyspace.clone()]);
    if let Some(login) = &config.login {
        builder = builder.user(&login.user, &login.password);
    }
    #[cfg(feature = "tls")]
    {
        builder = builder.tls_context(config.tls.as_ref().map(super::tls::context).transpose()?);
    }
    let session = builder.build().await.map_err(|error| fault::of_session(&place, user, &error))?;
    let cluster = session.get_cluster_state();
    let known: BTreeSet<&str> =
        cluster.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref()).collect();
    match &config.local_dc {
        Some(wanted) if !known.contains(wanted.as_str()) => {
            return Err(StoreError::Fatal(format!(
                "{place} has no data centre `{wanted}`; known are: {}",
                known.into_iter().collect::<Vec<_>>().join(", ")
            )));
        }
        None if known.len() > 1 => tracing::warn!(?known, "no local data centre is set: any may be asked"),
        _ => {}
    }
    Ok(session)
}

/// To the replicas of a row first, in the local data centre only if one is named.
fn balancing(config: &CqlConfig) -> Arc<dyn LoadBalancingPolicy> {
    let policy = DefaultPolicy::builder().token_aware(true).permit_dc_failover(false);
    match &config.local_dc {
        Some(name) => policy.prefer_datacenter(name.clone()).build(),
        None => policy.build(),
    }
}

/// What a node cannot do because of itself is asked of one other node, at once. Overload and timeouts are not: they
/// go back to who sends less then.
#[derive(Debug)]
struct AnotherNodeOnce;

impl RetryPolicy for AnotherNodeOnce {
    fn new_session(&self) -> Box<dyn RetrySession> {
        Box::new(Asked { another: false })
    }
}

struct Asked {
    another: bool,
}

impl RetrySession for Asked {
    fn decide_should_retry(&mut self, request: RequestInfo<'_>) -> RetryDecision {
        let of_the_node = matches!(
            request.error,
            RequestAttemptError::BrokenConnectionError(_)
                | RequestAttemptError::DbError(DbError::IsBootstrapping | DbError::Unavailable { .. }, _)
        );
        if of_the_node && request.is_idempotent && !std::mem::replace(&mut self.another, true) {
            return RetryDecision::RetryNextTarget(None);
        }
        RetryDecision::DontRetry
    }

    fn reset(&mut self) {
        self.another = false;
    }
}
