//! Event times as devices write them: a number of seconds, milliseconds or microseconds since the epoch, or RFC 3339
//! with an offset.
//!
//! A number's unit is told by its size: every unit has the range 2000-01-01 to 2100-01-01, and the three ranges lie
//! apart (946684800 to 4102444800 seconds, a thousand and a million times that), so no number has two meanings and
//! what lies outside all three is refused. Fractions are taken exactly; what is finer than a microsecond is cut off.

use crate::Micros;
use crate::grammar::{EVENT_TIME_END, EVENT_TIME_MIN, shown};
use crate::reason::{Reject, RejectReason};

const UNITS: [(u64, &str); 3] = [(1, "seconds"), (1_000, "milliseconds"), (1_000_000, "microseconds")];
const MIN_SECONDS: u64 = EVENT_TIME_MIN.cast_unsigned() / 1_000_000;
const END_SECONDS: u64 = EVENT_TIME_END.cast_unsigned() / 1_000_000;

#[cold]
fn bad(found: &str, hint: &str) -> Reject {
    Reject::new(
        RejectReason::BadTimestamp,
        format!(
            "`ts` is {found}{hint}; expected seconds ({MIN_SECONDS} to {END_SECONDS}), milliseconds or microseconds \
             since the epoch from 2000-01-01 to 2100-01-01, or RFC 3339 with an offset such as \
             \"2026-01-31T12:00:00.250Z\""
        ),
    )
}

/// A whole number in one of the three ranges.
#[inline]
pub(crate) fn of_integer(number: u64) -> Option<Micros> {
    UNITS.iter().find_map(|(unit, _)| {
        (MIN_SECONDS * unit..END_SECONDS * unit)
            .contains(&number)
            .then(|| (number * (1_000_000 / unit)).cast_signed())
    })
}

/// A JSON number, as written.
pub(crate) fn of_number(text: &str) -> Result<Micros, Reject> {
    let Some(millionths) = millionths(text) else { return Err(bad(&shown(text), "")) };
    let range = |unit: u64| {
        u128::from(MIN_SECONDS * unit) * 1_000_000..u128::from(END_SECONDS) * u128::from(unit) * 1_000_000
    };
    for (unit, _) in UNITS {
        if range(unit).contains(&millionths) {
            return Micros::try_from(millionths / u128::from(unit)).map_err(|_| bad(&shown(text), ""));
        }
    }
    let nanoseconds =
        u128::from(MIN_SECONDS) * 1_000_000_000_000_000..u128::from(END_SECONDS) * 1_000_000_000_000_000;
    let hint = match millionths {
        0 => ", a clock that was never set",
        value if nanoseconds.contains(&value) => ", which looks like nanoseconds",
        _ => "",
    };
    Err(bad(&shown(text), hint))
}

/// A JSON number times a million, fractions of that cut off; none when it is negative or beyond all units.
fn millionths(text: &str) -> Option<u128> {
    const DIGITS_MAX: u32 = 30;
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        None => (text, 0),
        // An exponent of more digits than this stands for nothing a clock could say.
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok().filter(|e| e.abs() <= 400)?),
    };
    let (mut mantissa, mut kept, mut power, mut fraction) = (0_u128, 0, exponent + 6, false);
    for byte in digits.bytes() {
        match byte {
            b'.' => fraction = true,
            b'0'..=b'9' if kept < DIGITS_MAX => {
                mantissa = mantissa * 10 + u128::from(byte - b'0');
                kept += u32::from(mantissa > 0);
                power -= i32::from(fraction);
            }
            b'0'..=b'9' => power += i32::from(!fraction),
            _ => return None,
        }
    }
    if mantissa == 0 {
        return Some(0);
    }
    let scale = 10_u128.checked_pow(power.unsigned_abs());
    if power >= 0 { mantissa.checked_mul(scale?) } else { Some(scale.map_or(0, |scale| mantissa / scale)) }
}

/// RFC 3339 with an offset.
pub(crate) fn of_text(text: &str) -> Result<Micros, Reject> {
    if !is_rfc3339(text.as_bytes()) {
        let numeric = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        return Err(bad(&shown(text), if numeric { ", a number in quotes" } else { "" }));
    }
    let instant = text.parse::<jiff::Timestamp>().map_err(|why| bad(&shown(text), &format!(" ({why})")))?;
    let micros = instant.as_microsecond();
    if (EVENT_TIME_MIN..EVENT_TIME_END).contains(&micros) { Ok(micros) } else { Err(bad(&shown(text), "")) }
}

/// Whether a text has the shape of RFC 3339, section 5.6; the calendar is the parser's business.
fn is_rfc3339(text: &[u8]) -> bool {
    const SHAPE: &[u8; 19] = b"0000-00-00T00:00:00";
    let Some((date_time, rest)) = text.split_first_chunk::<19>() else { return false };
    let fits = |(byte, shape): (&u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        _ => byte == shape,
    };
    let fraction = match rest {
        [b'.', digits @ ..] => 1 + digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let offset = match &rest[fraction..] {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', hours @ .., b':', m, n] if hours.len() == 2 => {
            hours.iter().chain([m, n]).all(u8::is_ascii_digit)
        }
        _ => false,
    };
    date_time.iter().zip(SHAPE).all(fits) && fraction != 1 && fraction <= 10 && offset
}

#[cfg(test)]
mod tests;
