//! The forward scanner over flat readings in ASCII. None means "not for me", never "wrong".
//!
//! Numbers: at most 2^53 over a power of ten up to 10^22 is one exact division, hence correctly rounded (Clinger,
//! "How to read floating point numbers accurately", 1990); anything longer goes to the standard library's parser,
//! which is correctly rounded too.

use crate::event_time;
use crate::grammar::{BOOT_CHARS_MAX, ReadingLimits, is_device_id};
use crate::record::Measured;
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

struct Scanner<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
}

/// A number as scanned.
struct Number {
    span: Span,
    negative: bool,
    /// Its digits without the point.
    digits: u64,
    /// Digits behind the point.
    fraction: usize,
    value: f64,
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
        match name.of(text) {
            "device_id" => scanner.device_id(parts)?,
            "ts" => scanner.event_time(limits, parts)?,
            "seq" => scanner.seq(parts)?,
            "boot" => scanner.boot(parts)?,
            other => {
                limits.check_name(other).ok()?;
                if seen.insert(other.as_bytes()) && parts.contains(other, text) {
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

    #[inline]
    fn string(&mut self) -> Option<Span> {
        self.expect(b'"')?;
        let start = self.at;
        let length = self.bytes.get(start..)?.iter().position(|byte| !PLAIN[usize::from(*byte)])?;
        self.at = start + length;
        self.expect(b'"')?;
        Some(Span::new(start, start + length))
    }

    #[inline]
    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        let end = self.at + literal.len();
        let found = self.bytes.get(self.at..end)? == literal;
        self.at = end;
        found.then_some(())
    }

    /// Appends digits to a number; returns how many there were.
    #[inline]
    fn digits(&mut self, digits: &mut u64) -> usize {
        let start = self.at;
        loop {
            let digit = self.peek().wrapping_sub(b'0');
            if digit > 9 {
                return self.at - start;
            }
            *digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
    }

    #[inline]
    fn number(&mut self) -> Option<Number> {
        let start = self.at;
        let negative = self.peek() == b'-';
        self.at += usize::from(negative);
        let first = self.peek();
        let (mut digits, mut fraction) = (0, 0);
        let whole = self.digits(&mut digits);
        if whole == 0 || (first == b'0' && whole > 1) {
            return None;
        }
        if self.peek() == b'.' {
            self.at += 1;
            fraction = self.digits(&mut digits);
            if fraction == 0 {
                return None;
            }
        }
        if matches!(self.peek(), b'e' | b'E') {
            return None;
        }
        let span = Span::new(start, self.at);
        let exact = whole + fraction <= DIGITS_MAX && digits <= EXACT_INTEGER_MAX;
        let value = if exact {
            #[expect(clippy::cast_precision_loss, reason = "at most 2^53: exact")]
            let value = digits as f64 / POWERS_OF_TEN[fraction];
            if negative { -value } else { value }
        } else {
            // Hundreds of digits may be infinite.
            span.of(self.text).parse().ok().filter(|value: &f64| value.is_finite())?
        };
        Some(Number {
            span,
            negative,
            digits: if whole + fraction <= DIGITS_MAX { digits } else { u64::MAX },
            fraction,
            value,
        })
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
        let event_time = if self.peek() == b'"' {
            event_time::of_text(self.string()?.of(self.text)).ok()?
        } else {
            let number = self.number()?;
            match number {
                Number { negative: false, fraction: 0, digits, .. } => event_time::of_integer(digits)?,
                number => event_time::of_number(number.span.of(self.text)).ok()?,
            }
        };
        limits.check_event_time(event_time).ok()?;
        parts.event_time = Some(event_time);
        Some(())
    }

    #[inline]
    fn seq(&mut self, parts: &mut Parts) -> Option<()> {
        match self.number()? {
            Number { negative: false, fraction: 0, digits, .. } if parts.seq.is_none() => {
                parts.seq = Some(i64::try_from(digits).ok()?);
                Some(())
            }
            _ => None,
        }
    }

    #[inline]
    fn boot(&mut self, parts: &mut Parts) -> Option<()> {
        let boot = if self.peek() == b'"' {
            self.string()?
        } else {
            let number = self.number()?;
            (number.fraction == 0).then_some(number.span)?
        };
        let usual = parts.boot.is_none() && (1..=BOOT_CHARS_MAX).contains(&boot.of(self.text).len());
        usual.then(|| parts.boot = Some(boot))
    }

    /// A measurement or a tag.
    #[inline]
    fn field(&mut self, name: Span, limits: &ReadingLimits, parts: &mut Parts) -> Option<()> {
        let measured = match self.peek() {
            b'"' => {
                let value = self.string()?;
                limits.check_tag(name.of(self.text), value.of(self.text)).ok()?;
                parts.tags.push((name, value));
                return Some(());
            }
            b't' => self.literal(b"true").map(|()| Measured::Bool(true))?,
            b'f' => self.literal(b"false").map(|()| Measured::Bool(false))?,
            b'n' => self.literal(b"null").map(|()| Measured::Null)?,
            _ => Measured::Number(self.number()?.value),
        };
        parts.measurements.push((name, measured));
        Some(())
    }
}
