//! The load of a scenario.

use anyhow::Result;
use e2e::Cluster;
use loadgen::{Fleet, FleetConfig, Load, Report, RunConfig, TruthWindow};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const SEED: u64 = 20_261_128;

/// Devices that go on sending until they are told to end.
pub(crate) struct Sending {
    sending: JoinHandle<Result<Report, loadgen::RunError>>,
    enough: oneshot::Sender<()>,
}

impl Sending {
    /// Begins to send to a home's door.
    pub(crate) fn begin(cluster: &Cluster, prefix: &str) -> Result<Self> {
        let mut fleet = FleetConfig { devices: 20, prefix: prefix.to_owned(), ..FleetConfig::demo(SEED) };
        fleet.faults.broken_clocks = 0.0;
        let second = Duration::from_secs(1);
        let config = RunConfig {
            rate: 200.0,
            // Ended by us.
            duration: Duration::from_hours(1),
            batch: 50,
            patience: Duration::from_mins(2),
            windows: vec![TruthWindow::tumbling("1s", second), TruthWindow::tumbling("10s", second * 10)],
            ..RunConfig::new(&cluster.ingest_url())
        };
        let (enough, told) = oneshot::channel::<()>();
        let load = Load { fleet: Fleet::new(fleet)?, config };
        Ok(Self { sending: tokio::spawn(loadgen::run(load, async { drop(told.await) })), enough })
    }

    /// Tells them to end; returns what was sent and what must come of it.
    pub(crate) async fn end(self) -> Result<Report> {
        // It may have ended by an error of its own, which comes out below.
        let _ = self.enough.send(());
        Ok(self.sending.await??)
    }
}
