//! Reading what units print.

use std::time::Duration;

use futures::StreamExt;
use the0_core::{
    ExecutorError,
    executor::{AttemptRef, LogQuery, LogRecord},
};
use the0_model::UnitId;
use tokio::time::timeout;

use super::{PATIENCE, Subject, text};

const COUNTING: &str = "import os\ndef main(bot_id, config):\n    \
                        for n in range(20): print('line', os.environ['RUN_ATTEMPT'], n)\n";

/// The latest attempt, the one before it, and any by its number.
pub async fn attempts_are_read_by_name(subject: &Subject) {
    let spec = subject.python("named", COUNTING);
    for _ in 0..3 {
        subject.end(&spec).await;
        subject.stop(&spec.id).await;
    }
    for (attempt, number) in [
        (AttemptRef::Latest, 3),
        (AttemptRef::Previous, 2),
        (AttemptRef::Number(1), 1),
        (AttemptRef::Number(3), 3),
    ] {
        let lines = read(subject, &spec.id, LogQuery { attempt, tail: None, follow: false }).await;
        assert_eq!(lines.len(), 20, "{attempt:?}");
        assert!(lines.iter().all(|line| line.attempt == number), "{attempt:?}");
        assert_eq!(text(&lines[19].line.text), format!("line {number} 19"));
    }
}

/// `tail` gives the last lines, oldest first.
pub async fn the_tail_is_the_tail(subject: &Subject) {
    let spec = subject.python("tail", COUNTING);
    subject.end(&spec).await;
    for (tail, first) in [(0, None), (1, Some("line 1 19")), (3, Some("line 1 17")), (99, Some("line 1 0"))] {
        let query = LogQuery { attempt: AttemptRef::Latest, tail: Some(tail), follow: false };
        let lines = read(subject, &spec.id, query).await;
        assert_eq!(lines.len(), tail.min(20));
        assert_eq!(lines.first().map(|line| text(&line.line.text)).as_deref(), first);
    }
}

/// A follower sees lines as they come, those of the next attempt too, and its stream ends with the unit.
pub async fn a_follower_sees_the_next_attempt(subject: &Subject) {
    let script = "import os, time\ndef main(bot_id, config):\n    print('up', os.environ['RUN_ATTEMPT'])\n    \
                  while True: time.sleep(0.05)\n";
    let spec = subject.python("followed", script);
    subject.up(&spec).await;
    let query = LogQuery { attempt: AttemptRef::Latest, tail: None, follow: true };
    let mut lines = subject.executor.logs(&spec.id, query).await.unwrap();
    for attempt in 1..=3 {
        let line = timeout(PATIENCE, lines.next()).await.expect("a line comes").expect("it goes on").unwrap();
        assert_eq!((line.attempt, text(&line.line.text)), (attempt, format!("up {attempt}")));
        subject.stop(&spec.id).await;
        if attempt < 3 {
            subject.up(&spec).await;
        }
    }
    assert!(timeout(Duration::from_millis(100), lines.next()).await.is_err(), "a stopped unit may come back");
    subject.executor.purge(&spec.id).await.unwrap();
    assert!(timeout(PATIENCE, lines.next()).await.expect("the stream ends").is_none());
}

/// What is not there is said to be not there.
pub async fn nothing_is_not_found(subject: &Subject) {
    let spec = subject.python("known", COUNTING);
    subject.end(&spec).await;
    let nobody = UnitId::new("bot/nobody").unwrap();
    for (unit, attempt) in
        [(&nobody, AttemptRef::Latest), (&spec.id, AttemptRef::Previous), (&spec.id, AttemptRef::Number(9))]
    {
        for follow in [false, true] {
            let asked = subject.executor.logs(unit, LogQuery { attempt, tail: None, follow }).await;
            let missing = matches!(asked, Err(ExecutorError::NotFound { .. }));
            assert!(missing, "{unit} {attempt:?}");
        }
    }
}

async fn read(subject: &Subject, unit: &UnitId, query: LogQuery) -> Vec<LogRecord> {
    let lines = subject.executor.logs(unit, query).await.unwrap();
    lines.map(|line| line.unwrap()).collect().await
}
