//! What was handed out: one credential per session, packed end to end, and kept on disk with a filled store.

use std::fs;
use std::path::Path;

use crate::Result;

/// Credentials by session number. A million tokens of a hundred bytes take a hundred megabytes, and not a million
/// allocations.
#[derive(Default)]
pub(crate) struct Tokens {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    start: usize,
    length: u16,
}

impl Tokens {
    /// Room for `count`, all still empty: answers arrive in any order.
    pub(crate) fn with_room(count: usize) -> Self {
        Self { bytes: Vec::new(), places: vec![Place::default(); count] }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn get(&self, index: usize) -> &[u8] {
        let place = self.places.get(index).copied().unwrap_or_default();
        self.bytes.get(place.start..place.start + usize::from(place.length)).unwrap_or_default()
    }

    pub(crate) fn set(&mut self, index: usize, token: &[u8]) {
        let place = Place { start: self.bytes.len(), length: u16::try_from(token.len()).unwrap_or(0) };
        self.bytes.extend_from_slice(token);
        if let Some(slot) = self.places.get_mut(index) {
            *slot = place;
        }
    }

    /// One credential a line, in the order of the sessions.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let mut text = Vec::with_capacity(self.bytes.len() + self.places.len());
        for index in 0..self.len() {
            text.extend_from_slice(self.get(index));
            text.push(b'\n');
        }
        Ok(fs::write(path, text)?)
    }

    /// # Errors
    /// When the file cannot be read, or does not hold `count` credentials.
    pub(crate) fn load(path: &Path, count: usize) -> Result<Self> {
        let mut tokens = Self::with_room(count);
        let text = fs::read(path)?;
        let mut index = 0;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            tokens.set(index, line);
            index += 1;
        }
        if index == count {
            Ok(tokens)
        } else {
            Err(format!("{} holds {index} credentials", path.display()).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_arrives_in_any_order() {
        let mut tokens = Tokens::with_room(2);
        tokens.set(1, b"second");
        tokens.set(0, b"first");
        let file = std::env::temp_dir().join(format!("handstamp-tokens-{}", std::process::id()));
        tokens.save(&file).unwrap();
        let again = Tokens::load(&file, 2).unwrap();
        assert_eq!((again.get(0), again.get(1), again.get(2)), (&b"first"[..], &b"second"[..], &b""[..]));
        assert!(Tokens::load(&file, 3).is_err());
        fs::remove_file(file).unwrap();
    }
}
