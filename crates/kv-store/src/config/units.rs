//! Sizes and times as people write them.

use std::time::Duration;

/// What a size looks like, for an error.
pub(super) const A_SIZE: &str = "a number of bytes, or one with KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (of 1024)";
/// What a time looks like, for an error.
pub(super) const A_TIME: &str = "a number of seconds, or one with s, m, h or d";

/// `50000000000`, `50GB`, `1.5 TiB`: bytes, rounded down; `None` if it is no size, or beyond 64 bits.
pub(super) fn size(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 9] = [
        ("KIB", 1 << 10),
        ("MIB", 1 << 20),
        ("GIB", 1 << 30),
        ("TIB", 1 << 40),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];
    let text = text.trim().to_ascii_uppercase();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, bytes)| Some((text.strip_suffix(name)?, *bytes)))
        .unwrap_or((&text, 1));
    scaled(number.trim_end(), unit)
}

/// `90`, `90s`, `15m`, `24h`, `7d`; `None` if it is no time.
pub(super) fn time(text: &str) -> Option<Duration> {
    const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86400)];
    let text = text.trim();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, seconds)| Some((text.strip_suffix(*name)?, *seconds)))
        .unwrap_or((text, 1));
    scaled(number.trim_end(), unit).map(Duration::from_secs)
}

/// A decimal number, with at most nine digits behind the point, times `unit`.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || whole.len() > 20 || fraction.len() > 9 {
        return None;
    }
    let (whole, parts): (u128, u128) = (whole.parse().ok()?, fraction.parse().ok()?);
    let denominator = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let value = whole * u128::from(unit) + parts * u128::from(unit) / denominator;
    u64::try_from(value).ok()
}

/// Bytes, for a person: `1.5 GB`.
pub(super) fn shown(bytes: u64) -> String {
    const NAMES: [(&str, u64); 4] =
        [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000)];
    match NAMES.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        assert_eq!(size("50000000000"), Some(50_000_000_000));
        assert_eq!(size("50GB"), Some(50_000_000_000));
        assert_eq!(size(" 1.5 GiB "), Some(3 << 29));
        assert_eq!(size("2kb"), Some(2000));
        assert_eq!(size("18446744073709551615"), Some(u64::MAX));
        for wrong in ["", "GB", "1G", "-1", "1e9", "1.", ".5", "1_000", "18446744073709551616", "٣"]
        {
            assert_eq!(size(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time("86400"), time("24h"));
        assert_eq!(time("1.5m"), Some(Duration::from_secs(90)));
        assert_eq!(time("1d"), Some(Duration::from_secs(86400)));
        assert_eq!(time("1w"), None);
    }

    #[test]
    fn sizes_are_shown_short() {
        assert_eq!(shown(999), "999 bytes");
        assert_eq!(shown(1_500_000_000), "1.5 GB");
    }
}
