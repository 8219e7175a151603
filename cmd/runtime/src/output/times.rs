//! Pure: times as people read them.

use prost_types::Timestamp;

/// How long before `now` it was: `12s`, `5m`, `3h`, `2d`.
pub(crate) fn ago(at: Option<&Timestamp>, now: jiff::Timestamp) -> String {
    at.map_or_else(String::new, |at| span(now.as_second() - at.seconds))
}

/// Seconds in the largest unit that fits.
pub(crate) fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s}s"),
        s @ 120..7200 => format!("{}m", s / 60),
        s @ 7200..172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86400),
    }
}

/// `2026-11-21T02:24:41.123Z`, or nothing for a time out of range.
pub(crate) fn text(at: Option<&Timestamp>) -> String {
    at.and_then(|at| jiff::Timestamp::new(at.seconds, at.nanos).ok())
        .map_or_else(String::new, |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let now = jiff::Timestamp::from_second(200_000).unwrap();
        assert_eq!(ago(Some(&Timestamp { seconds: 199_990, nanos: 0 }), now), "10s");
        assert_eq!(ago(None, now), "");
        assert_eq!([span(-5), span(300), span(7200), span(200_000)], ["0s", "5m", "2h", "2d"]);
        assert_eq!(text(Some(&Timestamp { seconds: 0, nanos: 1_500_000 })), "1970-01-01T00:00:00.001Z");
    }
}
