//! Pure: times, sizes and cores as people write them.

use std::time::Duration;

/// `500ms`, `30s`, `5m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let wrong = || format!("{text:?} is no time such as 500ms, 30s, 5m or 1h");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(wrong)
}

/// `1048576`, `64Ki`, `128Mi`, `1Gi`, or decimal `k`, `M`, `G`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let wrong = || format!("{text:?} is no size such as 1048576, 128Mi or 1Gi");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "" | "B" => 1,
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        "k" | "K" | "kB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

/// Cores such as `0.5` or `2`, or thousandths such as `500m`; in thousandths.
pub(crate) fn cpu_millis(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no number of cores such as 0.5, 2 or 500m");
    if let Some(millis) = text.strip_suffix('m') {
        return millis.parse().map_err(|_| wrong());
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.chars().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let part: u32 = format!("{part:0<3}").parse().map_err(|_| wrong())?;
    whole.checked_mul(1000).and_then(|millis| millis.checked_add(part)).ok_or_else(wrong)
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_people_write_them() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(bytes("128Mi"), Ok(128 << 20));
        assert_eq!(bytes("7"), Ok(7));
        assert_eq!(cpu_millis("0.5"), Ok(500));
        assert_eq!(cpu_millis("2"), Ok(2000));
        assert_eq!(cpu_millis("250m"), Ok(250));
        for bad in ["", "5", "s", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "Mi", "1Ti", "-1", "18446744073709551615Gi"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        for bad in ["", ".5x", "0.0005", "-1", "5000000"] {
            assert!(cpu_millis(bad).is_err(), "{bad}");
        }
    }
}
