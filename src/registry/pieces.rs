//! Buffers of the pieces that are sent, used again and again.
//!
//! A fresh buffer for each piece would cost more than reading it: the system maps and clears its pages, and takes them back from every
//! core when it was sent.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::content::PIECE;

/// Idle buffers that are kept at most: 8 MiB.
const IDLE: usize = 32;

/// Buffers that nobody uses.
#[derive(Default)]
pub(super) struct Pieces(Mutex<Vec<Box<[u8]>>>);

/// The buffer of a piece that is being sent; it comes back when the last byte is gone.
struct Lent {
    buffer: Box<[u8]>,
    length: usize,
    pieces: Arc<Pieces>,
}

impl Pieces {
    /// A piece of `length` bytes, at most [`PIECE`], with what `fill` puts into it.
    pub(super) fn filled<E>(self: &Arc<Self>, length: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Bytes, E> {
        let length = length.min(PIECE);
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let buffer = idle.unwrap_or_else(|| vec![0; PIECE].into_boxed_slice());
        let mut lent = Lent { buffer, length, pieces: Arc::clone(self) };
        fill(&mut lent.buffer[..length])?;
        Ok(Bytes::from_owner(lent))
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut idle = self.pieces.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_lent_again_when_its_piece_is_gone_and_not_before() {
        let pieces = Arc::new(Pieces::default());
        let filled = |byte: u8, length| {
            pieces
                .filled(length, |buffer| {
                    buffer.fill(byte);
                    Ok::<_, std::convert::Infallible>(())
                })
                .unwrap()
        };
        let first = filled(1, 100);
        let (part, place) = (first.slice(10..20), first.as_ptr());
        drop(first);
        let second = filled(2, PIECE + 1);
        assert_ne!(second.as_ptr(), place, "a part of the first is still there");
        assert_eq!((part.as_ref(), second.len()), (&[1; 10][..], PIECE));
        drop(part);
        let third = filled(3, 5);
        assert_eq!((third.as_ptr(), third.as_ref()), (place, &[3; 5][..]));
    }

    #[test]
    fn a_buffer_that_could_not_be_filled_is_kept_for_the_next() {
        let pieces = Arc::new(Pieces::default());
        assert_eq!(pieces.filled(1, |_| Err("gone")), Err("gone"));
        assert_eq!(pieces.0.lock().unwrap().len(), 1);
    }
}
