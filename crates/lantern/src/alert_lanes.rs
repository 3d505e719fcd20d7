//! Alerts as boards show them: what `alerting` owns, in the words of `board`.

use std::sync::Arc;

use alerting::AlertState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Hands every change on until `shutdown`.
pub(crate) async fn follow(
    mut alerts: watch::Receiver<Arc<Vec<alerting::Alert>>>,
    shown: watch::Sender<Arc<Vec<board::Alert>>>,
    shutdown: CancellationToken,
) {
    loop {
        let all = Arc::clone(&alerts.borrow_and_update());
        shown.send_replace(Arc::new(all.iter().filter_map(show).collect()));
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = alerts.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

fn show(alert: &alerting::Alert) -> Option<board::Alert> {
    let (state, since) = match alert.state {
        AlertState::Pending => (board::AlertState::Pending, Some(alert.active_at)),
        AlertState::Firing => (board::AlertState::Firing, alert.fired_at),
        AlertState::Resolved => (board::AlertState::Resolved, alert.resolved_at),
        AlertState::Inactive => return None,
    };
    Some(board::Alert {
        labels: alert.labels.clone(),
        summary: alert.summary().to_owned(),
        state,
        since: since.unwrap_or(alert.active_at),
    })
}
