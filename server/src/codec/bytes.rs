//! Numbers and texts as bytes: LEB128 numbers, lengths before texts, one byte for a choice.

use super::Unreadable;

/// Puts a body together.
pub struct Writer(Vec<u8>);

impl Writer {
    /// Begins with the format byte.
    pub fn new(format: u8) -> Writer {
        let mut bytes = Vec::with_capacity(256);
        bytes.push(format);
        Writer(bytes)
    }
    /// A number, shorter when smaller.
    pub fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(u8::try_from(n & 0x7F).unwrap_or(0) | 0x80);
            n >>= 7;
        }
        self.0.push(u8::try_from(n).unwrap_or(0));
    }
    /// A signed number (zigzag).
    pub fn signed(&mut self, n: i64) {
        self.number(((n << 1) ^ (n >> 63)).cast_unsigned());
    }
    /// One byte.
    pub fn byte(&mut self, b: u8) {
        self.0.push(b);
    }
    /// Bytes whose number both sides know.
    pub fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    /// Bytes with their number.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(bytes);
    }
    /// A text.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
    /// A value that may be missing.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        match value {
            None => self.byte(0),
            Some(value) => {
                self.byte(1);
                write(self, value);
            }
        }
    }
    /// Several values with their number.
    pub fn list<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Writer, T),
    ) {
        self.number(u64::try_from(items.len()).unwrap_or(u64::MAX));
        items.for_each(|item| write(self, item));
    }
    /// The body.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes a body apart; every step can find it wrong, none can panic or allocate more than the body is long.
pub struct Reader<'a> {
    rest: &'a [u8],
    /// The format byte.
    pub format: u8,
}

impl<'a> Reader<'a> {
    /// Reads the format byte, which must be one of `formats`.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn new(body: &'a [u8], formats: &[u8]) -> Result<Reader<'a>, Unreadable> {
        let (format, rest) = body.split_first().ok_or(Unreadable)?;
        if formats.contains(format) { Ok(Reader { rest, format: *format }) } else { Err(Unreadable) }
    }
    /// See [`Writer::number`]; a number has one form, the shortest.
    ///
    /// # Errors
    /// [`Unreadable`], as with all that follow.
    pub fn number(&mut self) -> Result<u64, Unreadable> {
        let mut value = 0u64;
        for place in 0..10u32 {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            let shifted = bits << (place * 7);
            if shifted >> (place * 7) != bits {
                return Err(Unreadable);
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return if byte == 0 && place > 0 { Err(Unreadable) } else { Ok(value) };
            }
        }
        Err(Unreadable)
    }
    /// See [`Writer::signed`].
    pub fn signed(&mut self) -> Result<i64, Unreadable> {
        let n = self.number()?;
        Ok((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }
    /// Yes or no. Anything else is damage: taken for "no", it would wake a key that was suspended.
    pub fn flag(&mut self) -> Result<bool, Unreadable> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Unreadable),
        }
    }
    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Unreadable> {
        let (byte, rest) = self.rest.split_first().ok_or(Unreadable)?;
        self.rest = rest;
        Ok(*byte)
    }
    /// `N` bytes.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(Unreadable)?;
        self.rest = rest;
        Ok(*bytes)
    }
    /// Bytes with their number.
    pub fn bytes(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = usize::try_from(self.number()?).map_err(|_| Unreadable)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Unreadable)?;
        self.rest = rest;
        Ok(bytes)
    }
    /// A text.
    pub fn text(&mut self) -> Result<&'a str, Unreadable> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Unreadable)
    }
    /// A value that may be missing.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, Unreadable> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }
    /// Several values.
    pub fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<Vec<T>, Unreadable> {
        let count = self.count()?;
        (0..count).map(|_| read(self)).collect()
    }
    /// Several values, to be read later; `skip` goes past one of them. How many, and how many bytes they take.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn skip_list(
        &mut self,
        mut skip: impl FnMut(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(usize, usize), Unreadable> {
        let (count, before) = (self.count()?, self.rest.len());
        for _ in 0..count {
            skip(self)?;
        }
        Ok((count, before - self.rest.len()))
    }
    /// How much of the whole body is behind.
    pub fn at(&self, body: &[u8]) -> usize {
        body.len() - self.rest.len()
    }
    fn count(&mut self) -> Result<usize, Unreadable> {
        let count = usize::try_from(self.number()?).map_err(|_| Unreadable)?;
        // Every value takes a byte at least.
        if count > self.rest.len() { Err(Unreadable) } else { Ok(count) }
    }
    /// There must be nothing left.
    pub fn end(&self) -> Result<(), Unreadable> {
        if self.rest.is_empty() { Ok(()) } else { Err(Unreadable) }
    }
}

/// Several values that nobody has read yet.
#[derive(Clone, Copy)]
pub struct List<'a> {
    count: u32,
    bytes: &'a [u8],
    format: u8,
}

impl<'a> List<'a> {
    /// `count` values, of which [`Reader::skip_list`] told.
    pub const fn new(count: u32, bytes: &'a [u8], format: u8) -> List<'a> {
        List { count, bytes, format }
    }
    /// Reads them all.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read<T>(
        self,
        mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Unreadable>,
    ) -> Result<Vec<T>, Unreadable> {
        let mut r = Reader { rest: self.bytes, format: self.format };
        (0..self.count).map(|_| read(&mut r)).collect()
    }
    /// Reads one after the other, up to one that cannot be read: for what this process wrote itself.
    pub fn items<T>(
        self,
        mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Unreadable>,
    ) -> impl Iterator<Item = T> {
        let mut r = Reader { rest: self.bytes, format: self.format };
        (0..self.count).map_while(move |_| read(&mut r).ok())
    }
}
