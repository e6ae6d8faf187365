//! The forward scanner over flat readings in ASCII. None means "not for me", never "wrong".
//!
//! Numbers: at most 2^53 over a power of ten up to 10^22 is one exact division, hence correctly rounded (Clinger,
//! "How to read floating point numbers accurately", 1990); anything longer goes to the standard library's parser,
//! which is correctly rounded too.

use crate::event_time;
use crate::grammar::{BOOT_CHARS_MAX, ReadingLimits, is_device_id};
use crate::record::Measured;
use crate::usual::Fixed;
use crate::view::{Parts, Seen, Span};

const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
const EXACT_INTEGER_MAX: u64 = 1 << 53;
/// More digits could overflow the mantissa.
const DIGITS_MAX: usize = 19;

/// Bytes that stand for themselves inside a string: ASCII but controls, quote and backslash.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x20_u8;
    while byte < 0x7f {
        table[byte as usize] = byte != b'"' && byte != b'\\';
        byte += 1;
    }
    table
};

pub(super) struct Scanner<'t> {
    /// Empty where numbers that need it are not for the caller.
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
}

/// Appends the digits from `at` on to a number; returns where they end. More than nineteen overflow.
#[inline]
fn digits_at(bytes: &[u8], mut at: usize, digits: &mut u64) -> usize {
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0'))
        && digit <= 9
    {
        *digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    at
}

/// [`digits_at`] for long numbers.
#[inline]
fn many_digits_at(bytes: &[u8], mut at: usize, digits: &mut u64) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>())
        && let Some(number) = eight_digits(u64::from_le_bytes(*eight))
    {
        *digits = digits.wrapping_mul(100_000_000).wrapping_add(number);
        at += 8;
    }
    digits_at(bytes, at, digits)
}

/// `0` in every byte.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The number that eight bytes write, the first one in the lowest byte; none: they are not all digits.
#[inline]
fn eight_digits(bytes: u64) -> Option<u64> {
    const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    // A digit has the high half 3, also when six more are added.
    let all = bytes & HIGH == ZEROS && bytes.wrapping_add(0x0606_0606_0606_0606) & HIGH == ZEROS;
    all.then_some(joined(bytes.wrapping_sub(ZEROS)))
}

/// The number of eight decimal places, the first one in the lowest byte.
#[inline]
fn joined(places: u64) -> u64 {
    // Neighbours become numbers of two, four and eight places.
    let pairs = places.wrapping_mul(10).wrapping_add(places >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff
}

/// A number without sign that ends within eight bytes: its digits as one number, how many of them are behind the
/// point, and its length. None: it is longer, or none. How many digits measurements have changes from one to the next:
/// a loop over them would be mispredicted, this is not.
#[inline]
fn short_number(bytes: u64) -> Option<(u64, usize, usize)> {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let places = bytes ^ ZEROS;
    // In each byte that is more than nine the highest bit.
    let others = ((places & LOW).wrapping_add(0x7676_7676_7676_7676) | places) & !LOW;
    let whole = others.trailing_zeros() / 8;
    if whole == 0 || whole == 8 || (whole > 1 && bytes & 0xff == u64::from(b'0')) {
        return None;
    }
    let kept = |count: u32| u64::MAX >> (64 - 8 * count);
    if bytes >> (8 * whole) & 0xff != u64::from(b'.') {
        return Some((joined((places & kept(whole)) << (64 - 8 * whole)), 0, whole as usize));
    }
    let end = (others & (others - 1)).trailing_zeros() / 8;
    let count = end - 1;
    if end == 8 || count == whole {
        return None;
    }
    // The point goes.
    let digits = places & kept(whole) | (places >> 8) & !kept(whole) & kept(count);
    Some((joined(digits << (64 - 8 * count)), (count - whole) as usize, end as usize))
}

/// Reads a flat reading into `parts`.
pub(super) fn scan(text: &str, limits: &ReadingLimits, parts: &mut Parts) -> Option<()> {
    let mut scanner = Scanner { text, bytes: text.as_bytes(), at: 0 };
    let mut seen = Seen::default();
    scanner.space();
    scanner.expect(b'{')?;
    loop {
        scanner.space();
        let name = scanner.string()?;
        scanner.space();
        scanner.expect(b':')?;
        scanner.space();
        match scanner.bytes(name) {
            b"device_id" => scanner.device_id(parts)?,
            b"ts" => scanner.event_time(limits, parts)?,
            b"seq" => scanner.seq(parts)?,
            b"boot" => scanner.boot(parts)?,
            other => {
                // Its characters are plain.
                if other.is_empty() || other.len() > limits.name_chars_max {
                    return None;
                }
                if seen.insert(other) && parts.contains(other, text.as_bytes()) {
                    return None;
                }
                scanner.field(name, limits, parts)?;
            }
        }
        scanner.space();
        match scanner.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    scanner.space();
    let complete = scanner.at == scanner.bytes.len()
        && parts.device_id != Span::default()
        && (1..=limits.measurements_max).contains(&parts.measurements.len())
        && parts.tags.len() <= limits.tags_max;
    complete.then_some(())
}

impl<'t> Scanner<'t> {
    /// A scanner of bytes that need not be text.
    pub(super) fn of_bytes(bytes: &'t [u8]) -> Self {
        Self { text: "", bytes, at: 0 }
    }

    /// Goes past bytes that must stand here.
    #[inline]
    pub(super) fn pass(&mut self, fixed: &Fixed) -> Option<()> {
        let after = fixed.after(self.bytes.get(self.at..)?)?;
        self.at = self.bytes.len() - after.len();
        Some(())
    }

    /// Bytes up to the next that does not stand for itself in a string.
    #[inline]
    pub(super) fn plain(&mut self) -> Span {
        let start = self.at;
        while PLAIN[usize::from(self.peek())] {
            self.at += 1;
        }
        Span::new(start, self.at)
    }

    /// What was not read.
    pub(super) fn rest(&self) -> &'t [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

impl Scanner<'_> {
    #[inline]
    fn peek(&self) -> u8 {
        // No byte of valid JSON outside a string is 0.
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    #[inline]
    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// A string without its quotes; the bytes are those of the span.
    #[inline]
    fn string(&mut self) -> Option<Span> {
        self.expect(b'"')?;
        let string = self.plain();
        self.expect(b'"')?;
        Some(string)
    }

    #[inline]
    fn bytes(&self, span: Span) -> &[u8] {
        span.bytes_of(self.bytes)
    }

    #[inline]
    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        let end = self.at + literal.len();
        let found = self.bytes.get(self.at..end)? == literal;
        self.at = end;
        found.then_some(())
    }

    /// A number without sign and fraction, of at most nineteen digits; as to exponents see `number`.
    #[inline]
    pub(super) fn integer(&mut self) -> Option<u64> {
        let start = self.at;
        let mut digits = 0;
        let after = many_digits_at(self.bytes, start, &mut digits);
        let count = after - start;
        let usual = (1..=DIGITS_MAX).contains(&count)
            && !(count > 1 && self.bytes[start] == b'0')
            && self.bytes.get(after) != Some(&b'.');
        self.at = after;
        usual.then_some(digits)
    }

    /// The digits of such a number.
    #[inline]
    pub(super) fn digits(&mut self) -> Option<Span> {
        let start = self.at;
        self.integer()?;
        Some(Span::new(start, self.at))
    }

    /// A number without exponent; with one, what follows is neither comma nor brace, and the scan gives up there.
    #[inline]
    fn number(&mut self) -> Option<f64> {
        let bytes = self.bytes;
        let start = self.at;
        let negative = bytes.get(start) == Some(&b'-');
        let whole = start + usize::from(negative);
        if let Some(eight) = bytes.get(whole..).and_then(|rest| rest.first_chunk::<8>())
            && let Some((digits, fraction, length)) = short_number(u64::from_le_bytes(*eight))
        {
            self.at = whole + length;
            #[expect(clippy::cast_precision_loss, reason = "at most seven digits: exact")]
            let value = digits as f64 / POWERS_OF_TEN[fraction];
            return Some(if negative { -value } else { value });
        }
        let mut digits = 0;
        let mut end = digits_at(bytes, whole, &mut digits);
        let mut count = end - whole;
        if count == 0 || (count > 1 && bytes[whole] == b'0') {
            return None;
        }
        let mut fraction = 0;
        if bytes.get(end) == Some(&b'.') {
            let point = end;
            end = digits_at(bytes, point + 1, &mut digits);
            fraction = end - point - 1;
            count += fraction;
            if fraction == 0 {
                return None;
            }
        }
        self.at = end;
        if count > DIGITS_MAX || digits > EXACT_INTEGER_MAX {
            // Hundreds of digits may be infinite.
            return self.text.get(start..end)?.parse().ok().filter(|value: &f64| value.is_finite());
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 2^53: exact")]
        let value = digits as f64 / POWERS_OF_TEN[fraction];
        Some(if negative { -value } else { value })
    }

    #[inline]
    fn device_id(&mut self, parts: &mut Parts) -> Option<()> {
        let id = self.string()?;
        (parts.device_id == Span::default() && is_device_id(id.of(self.text))).then(|| parts.device_id = id)
    }

    #[inline]
    fn event_time(&mut self, limits: &ReadingLimits, parts: &mut Parts) -> Option<()> {
        if parts.event_time.is_some() {
            return None;
        }
        let start = self.at;
        let event_time = if self.peek() == b'"' {
            event_time::of_text(self.string()?.of(self.text)).ok()?
        } else if let Some(number) = self.integer() {
            event_time::of_integer(number)?
        } else {
            self.at = start;
            self.number()?;
            event_time::of_number(self.text.get(start..self.at)?).ok()?
        };
        limits.check_event_time(event_time).ok()?;
        parts.event_time = Some(event_time);
        Some(())
    }

    #[inline]
    fn seq(&mut self, parts: &mut Parts) -> Option<()> {
        let seq = i64::try_from(self.integer()?).ok()?;
        parts.seq.replace(seq).is_none().then_some(())
    }

    #[inline]
    fn boot(&mut self, parts: &mut Parts) -> Option<()> {
        let boot = if self.peek() == b'"' { self.string()? } else { self.digits()? };
        let usual = parts.boot.is_none() && (1..=BOOT_CHARS_MAX).contains(&boot.of(self.text).len());
        usual.then(|| parts.boot = Some(boot))
    }

    /// A measurement or a tag.
    #[inline]
    fn field(&mut self, name: Span, limits: &ReadingLimits, parts: &mut Parts) -> Option<()> {
        if self.peek() == b'"' {
            let value = self.string()?;
            if self.bytes(value).len() > limits.tag_chars_max {
                return None;
            }
            parts.tags.push((name, value));
        } else {
            parts.measurements.push((name, self.measured()?));
        }
        Some(())
    }

    /// A measurement's value.
    #[inline]
    pub(super) fn measured(&mut self) -> Option<Measured> {
        match self.peek() {
            b't' => self.literal(b"true").map(|()| Measured::Bool(true)),
            b'f' => self.literal(b"false").map(|()| Measured::Bool(false)),
            b'n' => self.literal(b"null").map(|()| Measured::Null),
            _ => self.number().map(Measured::Number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by a loop.
    fn slowly(text: &[u8]) -> Option<(u64, usize, usize)> {
        let mut digits = 0;
        let whole = digits_at(text, 0, &mut digits);
        let mut end = whole;
        if text.get(whole) == Some(&b'.') {
            end = digits_at(text, whole + 1, &mut digits);
        }
        let fraction = end.saturating_sub(whole + 1);
        let is_number = whole > 0 && !(whole > 1 && text[0] == b'0') && end != whole + 1;
        (end < 8 && is_number).then_some((digits, fraction, end))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn eight_bytes_are_read_at_once_as_they_are_one_by_one(text in prop_oneof!["[0-9.]{8}", "[0-9]{1,4}\\.[0-9]{0,5}[,}e ]{7}", "[0-9.,e:/ -]{8}", "[\\x00-\\x7f]{8}"]) {
            let word = u64::from_le_bytes(*text.as_bytes().first_chunk().unwrap());
            prop_assert_eq!(short_number(word), slowly(&text.as_bytes()[..8]), "{}", text);
            let all = text.as_bytes()[..8].iter().all(u8::is_ascii_digit);
            let eight = all.then(|| text[..8].parse::<u64>().unwrap());
            prop_assert_eq!(eight_digits(word), eight, "{}", text);
        }

        #[test]
        fn bytes_that_are_no_text_are_no_number(word in any::<u64>()) {
            prop_assert_eq!(short_number(word), slowly(&word.to_le_bytes()));
        }
    }
}
