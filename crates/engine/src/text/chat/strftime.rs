//! Dates in templates.

use minijinja::Error;

use super::error::invalid;

const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const SECONDS_PER_DAY: i64 = 86_400;
/// Years 1 to 9999, as in Python.
const UNIX_S_RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Longest format.
const MAX_FORMAT_BYTES: usize = 1024;

struct Date {
    year: i64,
    /// 1 to 12.
    month: usize,
    day: i64,
    /// From 0.
    day_of_year: i64,
    /// From Sunday, 0.
    weekday: usize,
    seconds: i64,
}

impl Date {
    /// The proleptic Gregorian calendar, UTC.
    fn new(unix_s: i64) -> Self {
        let days = unix_s.div_euclid(SECONDS_PER_DAY);
        let weekday = (days + 4).rem_euclid(7) as usize;
        // An estimate that is at most one year too late, then the year that `days` falls in.
        let mut year = 1970 + days.div_euclid(365);
        while days_before(year) > days {
            year -= (days_before(year) - days).div_euclid(366).max(1);
        }
        while days_before(year + 1) <= days {
            year += 1;
        }
        let day_of_year = days - days_before(year);
        let mut day = day_of_year;
        let mut month = 1;
        while day >= days_in_month(year, month) {
            day -= days_in_month(year, month);
            month += 1;
        }
        Date {
            year,
            month,
            day: day + 1,
            day_of_year,
            weekday,
            seconds: unix_s.rem_euclid(SECONDS_PER_DAY),
        }
    }
}

/// Days from 1970-01-01 to January 1 of `year`.
fn days_before(year: i64) -> i64 {
    let before = year - 1;
    let leap_days = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    (year - 1970) * 365 + leap_days - 477
}

fn days_in_month(year: i64, month: usize) -> i64 {
    let leap = days_before(year + 1) - days_before(year) == 366;
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// C's `strftime` in English, in UTC, for the directives that say something about a date and a time.
pub(super) fn strftime(format: &str, unix_s: i64) -> Result<String, Error> {
    if !UNIX_S_RANGE.contains(&unix_s) || format.len() > MAX_FORMAT_BYTES {
        return Err(invalid("strftime_now: the date or the format is out of range"));
    }
    let date = Date::new(unix_s);
    let mut out = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let directive = rest.next();
        let (padded, directive) = match directive {
            Some('-') => (false, rest.next()),
            _ => (true, directive),
        };
        let Some(field) = directive.and_then(|directive| date.field(directive, padded)) else {
            return Err(invalid(format!(
                "strftime_now: unknown directive in {format:?}; known: %Y %y %m %B %b %d %e %j %A %a %H %I \
                 %M %S %p %F %T %%, and %- for no padding"
            )));
        };
        out.push_str(&field);
    }
    Ok(out)
}

impl Date {
    fn field(&self, directive: char, padded: bool) -> Option<String> {
        let (hour, minute, second) =
            (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60);
        let number = |value: i64, width: usize| match padded {
            true => format!("{value:0width$}"),
            false => value.to_string(),
        };
        let month_name = MONTHS[self.month - 1];
        let weekday_name = WEEKDAYS[self.weekday];
        Some(match directive {
            '%' => "%".into(),
            'Y' => self.year.to_string(),
            'y' => number(self.year.rem_euclid(100), 2),
            'm' => number(self.month as i64, 2),
            'B' => month_name.into(),
            'b' => month_name[..3].into(),
            'd' => number(self.day, 2),
            'e' if padded => format!("{:2}", self.day),
            'e' => self.day.to_string(),
            'j' => number(self.day_of_year + 1, 3),
            'A' => weekday_name.into(),
            'a' => weekday_name[..3].into(),
            'H' => number(hour, 2),
            'I' => number((hour + 11) % 12 + 1, 2),
            'M' => number(minute, 2),
            'S' => number(second, 2),
            'p' => if hour < 12 { "AM" } else { "PM" }.into(),
            'F' => format!("{}-{:02}-{:02}", self.year, self.month, self.day),
            'T' => format!("{hour:02}:{minute:02}:{second:02}"),
            _ => return None,
        })
    }
}
