//! Where does a chunked body end?
//!
//! The edge lets one request at a time through to the parser behind it, so it must know where a body ends. This walks
//! over the chunks without keeping them. It is stricter than RFC 9112 asks: every line ends in CR LF, and chunk
//! extensions and trailers, which nobody sends to this API, are bounded. What passes here is read in one way only.

/// Bytes of all chunk extensions and trailers of one body together.
const MOST_EXTRAS: usize = 4 * 1024;

/// Digits of a chunk size: 2^32 bytes in one chunk are more than any body here may have.
const MOST_DIGITS: u8 = 8;

/// A walk over one chunked body.
#[derive(Clone, Copy, Debug)]
pub struct Chunks {
    at: At,
    extras: usize,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the first byte of a line of the trailer.
    Trailer,
    TrailerField,
    TrailerFieldLf,
    LastLf,
    End,
}

/// The bytes are no chunked body.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken;

impl Default for Chunks {
    /// At the first byte of the body.
    fn default() -> Self {
        Chunks { at: At::Size { digits: 0, size: 0 }, extras: 0 }
    }
}

impl Chunks {
    /// Has the body ended?
    pub fn ended(&self) -> bool {
        matches!(self.at, At::End)
    }

    /// Walks over `bytes` and says how many of them belong to the body: all of them, unless it ends within.
    ///
    /// # Errors
    /// [`Broken`]; nothing that follows can be read.
    pub fn walk(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let mut i = 0;
        while i < bytes.len() && !self.ended() {
            if let At::Data { left } = self.at {
                let here = left.min((bytes.len() - i) as u64);
                self.at = if here == left { At::DataCr } else { At::Data { left: left - here } };
                // `here` is at most the length of a slice, so nothing is lost.
                i += usize::try_from(here).map_err(|_| Broken)?;
            } else {
                self.at = self.step(bytes[i])?;
                i += 1;
            }
        }
        Ok(i)
    }

    fn step(&mut self, byte: u8) -> Result<At, Broken> {
        Ok(match (self.at, byte) {
            (At::Size { digits, size }, _) if byte.is_ascii_hexdigit() && digits < MOST_DIGITS => {
                let digit = char::from(byte).to_digit(16).ok_or(Broken)?;
                At::Size { digits: digits + 1, size: size * 16 + u64::from(digit) }
            }
            (At::Size { digits: 1.., size }, b'\r') => At::SizeLf { size },
            (At::Size { digits: 1.., size }, b';') => At::Extension { size },
            (At::Extension { size }, b'\r') => At::SizeLf { size },
            (At::Extension { .. }, _) if byte != b'\n' => self.extra(self.at)?,
            (At::SizeLf { size: 0 }, b'\n') => At::Trailer,
            (At::SizeLf { size }, b'\n') => At::Data { left: size },
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size { digits: 0, size: 0 },
            (At::Trailer, b'\r') => At::LastLf,
            (At::TrailerField, b'\r') => At::TrailerFieldLf,
            (At::Trailer | At::TrailerField, _) if byte != b'\n' => self.extra(At::TrailerField)?,
            (At::TrailerFieldLf, b'\n') => At::Trailer,
            (At::LastLf, b'\n') => At::End,
            _ => return Err(Broken),
        })
    }

    fn extra(&mut self, next: At) -> Result<At, Broken> {
        self.extras += 1;
        if self.extras > MOST_EXTRAS { Err(Broken) } else { Ok(next) }
    }
}
