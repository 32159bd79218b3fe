//! Which types of a column have one text, and that text.

use std::io::Write as _;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::schema::types::ColumnDescriptor;

/// How a value becomes text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// UTF-8.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Signed,
    /// A whole number whose sign bit is a digit.
    Unsigned,
    /// A whole number of 10^-scale.
    Decimal(u32),
    /// Days since 1970-01-01.
    Date,
    /// A time since 1970-01-01T00:00 by its units a second, in UTC or in no zone.
    Time { per_second: i64, utc: bool },
}

impl Kind {
    /// The kind of a column, or its type's name where it has none.
    pub(super) fn of(column: &ColumnDescriptor) -> Result<Self, String> {
        let physical = column.physical_type();
        let other = || {
            format!("{physical} {}", column.logical_type_ref().map_or(String::new(), |t| format!("({t:?})")))
        };
        match (physical, column.logical_type_ref(), column.converted_type()) {
            (Type::BOOLEAN, ..) => Ok(Self::Boolean),
            (
                Type::BYTE_ARRAY,
                Some(LogicalType::String | LogicalType::Enum | LogicalType::Json) | None,
                kind,
            ) if kind != ConvertedType::DECIMAL => Ok(Self::Text),
            (Type::INT32 | Type::INT64, logical, converted) => {
                whole(logical, converted, column).ok_or_else(other)
            }
            _ => Err(other().trim_end().to_owned()),
        }
    }

    /// Appends the text of a number.
    pub(super) fn write(self, value: i64, into: &mut Vec<u8>) {
        match self {
            Self::Decimal(scale) => write_decimal(value, scale, into),
            Self::Date => write_date(value, into),
            Self::Time { per_second, utc } => write_time(value, per_second, utc, into),
            Self::Unsigned => write_digits(value.cast_unsigned(), into),
            Self::Signed | Self::Text | Self::Boolean => {
                if value < 0 {
                    into.push(b'-');
                }
                write_digits(value.unsigned_abs(), into);
            }
        }
    }
}

fn whole(logical: Option<&LogicalType>, converted: ConvertedType, column: &ColumnDescriptor) -> Option<Kind> {
    let scale = || u32::try_from(column.type_scale()).ok().filter(|scale| *scale <= 18);
    let time = |per_second, utc| Some(Kind::Time { per_second, utc });
    match (logical, converted) {
        (Some(LogicalType::Integer(integer)), _) => {
            Some(if integer.is_signed { Kind::Signed } else { Kind::Unsigned })
        }
        (Some(LogicalType::Date), _) | (None, ConvertedType::DATE) => Some(Kind::Date),
        (Some(LogicalType::Decimal(_)), _) | (None, ConvertedType::DECIMAL) => scale().map(Kind::Decimal),
        (Some(LogicalType::Timestamp(t)), _) => time(per_second(&t.unit), t.is_adjusted_to_u_t_c),
        (None, ConvertedType::TIMESTAMP_MILLIS) => time(1_000, true),
        (None, ConvertedType::TIMESTAMP_MICROS) => time(1_000_000, true),
        (
            None,
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64,
        ) => Some(Kind::Unsigned),
        (
            None,
            ConvertedType::NONE
            | ConvertedType::INT_8
            | ConvertedType::INT_16
            | ConvertedType::INT_32
            | ConvertedType::INT_64,
        ) => Some(Kind::Signed),
        _ => None,
    }
}

fn per_second(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => 1_000,
        TimeUnit::MICROS => 1_000_000,
        TimeUnit::NANOS => 1_000_000_000,
    }
}

fn write_digits(mut value: u64, into: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    into.extend_from_slice(&digits[first..]);
}

fn write_decimal(value: i64, scale: u32, into: &mut Vec<u8>) {
    if value < 0 {
        into.push(b'-');
    }
    let unit = 10_u64.pow(scale);
    write_digits(value.unsigned_abs() / unit, into);
    if scale > 0 {
        let (width, rest) = (scale as usize, value.unsigned_abs() % unit);
        write!(into, ".{rest:0width$}").expect("memory takes every byte");
    }
}

/// A day that no calendar has, far beyond the year 9999, stands as its number, which no rule takes for a date.
fn write_date(days: i64, into: &mut Vec<u8>) {
    let date = jiff::civil::date(1970, 1, 1);
    let span = jiff::Span::new().try_days(days);
    match span.and_then(|span| date.checked_add(span)) {
        Ok(date) => write!(into, "{date}").expect("memory takes every byte"),
        Err(_) => Kind::Signed.write(days, into),
    }
}

fn write_time(value: i64, per_second: i64, utc: bool, into: &mut Vec<u8>) {
    let per_day = per_second * 86_400;
    let (days, rest) = (value.div_euclid(per_day), value.rem_euclid(per_day));
    write_date(days, into);
    if rest == 0 {
        return;
    }
    let (seconds, part) = (rest / per_second, rest % per_second);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    write!(into, "T{hour:02}:{minute:02}:{second:02}").expect("memory takes every byte");
    if part > 0 {
        let width = per_second.ilog10() as usize;
        write!(into, ".{part:0width$}").expect("memory takes every byte");
    }
    if utc {
        into.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: Kind, value: i64) -> String {
        let mut text = Vec::new();
        kind.write(value, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn numbers_dates_and_times_have_one_text() {
        let nanos = Kind::Time { per_second: 1_000_000_000, utc: true };
        let millis = Kind::Time { per_second: 1_000, utc: false };
        for (kind, value, expected) in [
            (Kind::Signed, 13_800_138_000, "13800138000"),
            (Kind::Signed, i64::MIN, "-9223372036854775808"),
            (Kind::Unsigned, -1, "18446744073709551615"),
            (Kind::Decimal(0), -5, "-5"),
            (Kind::Decimal(2), -5, "-0.05"),
            (Kind::Decimal(2), 123_400, "1234.00"),
            (Kind::Date, 0, "1970-01-01"),
            (Kind::Date, -1, "1969-12-31"),
            (Kind::Date, 20_767, "2026-11-10"),
            (Kind::Date, i64::MAX, "9223372036854775807"),
            (millis, 20_767 * 86_400_000, "2026-11-10"),
            (millis, 20_767 * 86_400_000 + 30_600_250, "2026-11-10T08:30:00.250"),
            (nanos, -1, "1969-12-31T23:59:59.999999999Z"),
        ] {
            assert_eq!(text(kind, value), expected, "{kind:?} {value}");
        }
    }
}
