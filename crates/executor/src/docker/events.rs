//! Docker's event stream → a bell.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::{errors::Error, models::EventMessage, query_parameters::EventsOptionsBuilder};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tracing::{info, warn};

use super::client::Client;

/// What changes how a unit fares. Everything else (attach, exec, health checks) is noise.
const ACTIONS: [&str; 7] = ["create", "start", "die", "oom", "destroy", "pause", "unpause"];
/// A stream that has not failed by then is connected.
const SETTLED: Duration = Duration::from_millis(200);
/// After so much silence Docker is asked whether it is still there: a dead TCP connection says nothing.
const SILENCE: Duration = Duration::from_secs(30);
const RETRY_LEAST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// Rings on every event of a container with this label, and whenever the connection is (back) there. Tries to
/// reconnect for ever. Needs no task of its own: it runs while it is polled.
///
/// Docker tells of an end before its own listing shows it, and does not tell again. So containers that ended are noted in
/// `died`, for whoever lists to look at them closely.
pub(super) fn bell(
    client: Client,
    label: String,
    died: Arc<Mutex<BTreeSet<String>>>,
) -> BoxStream<'static, ()> {
    let listener = Listener { client, label, died, events: None, wait: Duration::ZERO, lost: false };
    stream::unfold(listener, |mut listener| async move {
        listener.next_ring().await;
        Some(((), listener))
    })
    .boxed()
}

type Events = BoxStream<'static, Result<EventMessage, Error>>;

struct Listener {
    client: Client,
    label: String,
    died: Arc<Mutex<BTreeSet<String>>>,
    events: Option<Events>,
    wait: Duration,
    lost: bool,
}

impl Listener {
    async fn next_ring(&mut self) {
        loop {
            let Some(mut events) = self.events.take() else {
                if self.connect().await {
                    return;
                }
                continue;
            };
            match tokio::time::timeout(SILENCE, events.next()).await {
                Ok(Some(Ok(event))) => {
                    self.note_end(event);
                    self.events = Some(events);
                    return;
                }
                Ok(Some(Err(error))) => {
                    self.note_loss(&self.client.explain("read events", &error).to_string());
                }
                Ok(None) => self.note_loss("the stream ended"),
                Err(_) => match self.client.call("ping", self.client.raw().ping()).await {
                    Ok(_) => self.events = Some(events),
                    Err(error) => self.note_loss(&error.to_string()),
                },
            }
        }
    }

    /// Opens the stream. True if it is open.
    async fn connect(&mut self) -> bool {
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).clamp(RETRY_LEAST, RETRY_MOST);
        let filters = HashMap::from([
            ("type", vec!["container"]),
            ("label", vec![self.label.as_str()]),
            ("event", ACTIONS.to_vec()),
        ]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let mut events: Events = self.client.raw().events(Some(options)).boxed();
        match tokio::time::timeout(SETTLED, events.next()).await {
            settled @ (Ok(Some(Ok(_))) | Err(_)) => {
                if let Ok(Some(Ok(event))) = settled {
                    self.note_end(event);
                }
                if self.lost {
                    info!("docker is back");
                }
                (self.events, self.wait, self.lost) = (Some(events), Duration::ZERO, false);
                true
            }
            Ok(Some(Err(error))) => {
                self.note_loss(&self.client.explain("read events", &error).to_string());
                false
            }
            Ok(None) => false,
        }
    }

    fn note_end(&self, event: EventMessage) {
        if event.action.as_deref() == Some("die")
            && let Some(container) = event.actor.and_then(|actor| actor.id)
        {
            self.died.lock().unwrap_or_else(PoisonError::into_inner).insert(container);
        }
    }

    fn note_loss(&mut self, reason: &str) {
        if !self.lost {
            warn!(reason, "lost sight of docker; the units go on, reconnecting");
        }
        self.lost = true;
    }
}
