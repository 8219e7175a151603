//! `WatchEvents`: events as they happen, and what was missed.

use std::collections::VecDeque;

use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use the0_model::{BotEventKind, BotId, BotPhase};
use the0_proto::bot::v1 as pb;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tonic::{Code, Status};

use super::{convert, status::of_command};
use crate::{BotCommands, BotView, CommandError, Notice, commands::PAGE_MAX};

/// Most events of the past that are sent; the newest count.
const HISTORY_MAX: usize = 1000;

/// Events of one bot or of all; with `history`, the recent ones first. Ends when the watched bot is deleted.
pub(super) async fn events(
    commands: BotCommands,
    bot: Option<BotId>,
    history: bool,
) -> Result<impl Stream<Item = Result<pb::BotEvent, Status>> + Send + 'static, Status> {
    // Listening comes before looking, so that nothing falls between.
    let notices = commands.watch();
    let mut watcher = Watcher { commands, bot, notices, ready: VecDeque::new(), last: None, over: false };
    if watcher.bot.is_some() || history {
        let past = watcher.past(None).await?;
        if history {
            watcher.ready = past;
        }
        watcher.last = watcher.ready.back().map(|(at, _)| *at);
    }
    Ok(stream::unfold(watcher, |mut watcher| async move {
        let next = watcher.next().await?;
        Some((next, watcher))
    })
    .boxed())
}

struct Watcher {
    commands: BotCommands,
    /// Absent: every bot.
    bot: Option<BotId>,
    notices: Receiver<Notice>,
    ready: VecDeque<(Timestamp, pb::BotEvent)>,
    /// Time of the newest event sent or waiting, to tell old from new after a gap.
    last: Option<Timestamp>,
    over: bool,
}

impl Watcher {
    async fn next(&mut self) -> Option<Result<pb::BotEvent, Status>> {
        loop {
            if let Some((_, event)) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.over {
                return None;
            }
            match self.notices.recv().await {
                Ok(notice) => self.take(&notice),
                // The watcher was too slow and lost some: what is stored has them.
                Err(RecvError::Lagged(_)) => match self.past(self.last).await {
                    Ok(missed) => {
                        self.last = missed.back().map(|(at, _)| *at).or(self.last);
                        self.ready = missed;
                    }
                    // Its deletion was among what was lost. When that was is not known any more.
                    Err(status) if status.code() == Code::NotFound => {
                        self.over = true;
                        let (bot_id, kind) = (self.name(), pb::EventKind::Deleted.into());
                        return Some(Ok(pb::BotEvent { bot_id, kind, ..pb::BotEvent::default() }));
                    }
                    Err(status) => {
                        self.over = true;
                        return Some(Err(status));
                    }
                },
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn name(&self) -> String {
        self.bot.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    fn take(&mut self, notice: &Notice) {
        if self.bot.as_ref().is_some_and(|bot| *bot != notice.bot) {
            return;
        }
        let Some(event) = &notice.event else { return };
        self.over = self.bot.is_some() && event.kind == BotEventKind::Deleted;
        self.last = Some(event.at);
        self.ready.push_back((event.at, convert::event(&notice.bot, event, notice.status.phase)));
    }

    /// Stored events after a moment, oldest first. An unknown bot is an error.
    async fn past(&self, after: Option<Timestamp>) -> Result<VecDeque<(Timestamp, pb::BotEvent)>, Status> {
        let mut found = vec![];
        if let Some(bot) = &self.bot {
            let view = self.commands.get(bot).await.map_err(|error| of_command(&error))?;
            found.extend(of_view(&view, after));
        } else {
            let mut last: Option<BotId> = None;
            loop {
                let page =
                    self.commands.list(last.as_ref(), PAGE_MAX).await.map_err(|error| of_command(&error))?;
                let Some(end) = page.last() else { break };
                last = Some(end.bot.id.clone());
                found.extend(page.iter().flat_map(|view| of_view(view, after)));
            }
        }
        found.sort_by_key(|(at, _)| *at);
        let surplus = found.len().saturating_sub(HISTORY_MAX);
        Ok(found.split_off(surplus).into())
    }
}

fn of_view(view: &BotView, after: Option<Timestamp>) -> Vec<(Timestamp, pb::BotEvent)> {
    let newer = view.status.events.iter().filter(|event| after.is_none_or(|after| event.at > after));
    newer
        .map(|event| (event.at, convert::event(&view.bot.id, event, BotPhase::default())))
        .map(without_phase)
        .collect()
}

/// The phase after an event of the past is not known any more.
fn without_phase((at, event): (Timestamp, pb::BotEvent)) -> (Timestamp, pb::BotEvent) {
    (at, pb::BotEvent { phase: pb::Phase::Unspecified.into(), ..event })
}

/// Returns when the bot is deleted, even if the notice of it was lost.
pub(super) async fn deleted(commands: BotCommands, bot: BotId) {
    let mut notices = commands.watch();
    loop {
        match notices.recv().await {
            Ok(notice) => {
                let kind = notice.event.map(|event| event.kind);
                if notice.bot == bot && kind == Some(BotEventKind::Deleted) {
                    return;
                }
            }
            Err(RecvError::Lagged(_)) => {
                if matches!(commands.get(&bot).await, Err(CommandError::NotFound { .. })) {
                    return;
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}
