//! Changes to inputs, from a seed that is the target's name: the same inputs on every machine.

/// Words and bytes that parsers trip over.
const TOKENS: [&[u8]; 24] = [
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\xc3\x28",
    b"\xe2\x80\xae",
    b"\r\n",
    b"..",
    b"../",
    b"//",
    b"/",
    b"@",
    b":",
    b"sha256:",
    b"{",
    b"}",
    b"[",
    b"\"",
    b"${{",
    b"}}",
    b"&a",
    b"*a",
    b"<<: ",
    b"-1",
    b"18446744073709551616",
];

/// A source of changed inputs.
pub struct Mutator {
    state: u64,
}

impl Mutator {
    pub fn new(name: &str) -> Self {
        // FNV-1a: any number that is not zero and differs between names.
        let state = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self { state }
    }

    /// Xorshift64*.
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number under `limit`, which may be 0: then 0.
    fn under(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap().checked_rem(limit).unwrap_or(0)
    }

    /// One of the seeds with one to four changes.
    pub fn change(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let pick = self.under(seeds.len());
        let mut input = seeds[pick].clone();
        for _ in 0..=self.under(4) {
            self.step(&mut input, seeds);
        }
        input
    }

    fn step(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.under(input.len() + 1);
        let until = (at + 1 + self.under(16)).min(input.len());
        match self.under(8) {
            0 if at < input.len() => input[at] ^= 1 << self.under(8),
            1 if at < input.len() => input[at] = self.next().to_le_bytes()[0],
            2 => drop(input.splice(at..at, TOKENS[self.under(TOKENS.len())].iter().copied())),
            3 if at < until => drop(input.drain(at..until)),
            4 if at < until => {
                let copy = input[at..until].to_vec();
                let to = self.under(input.len());
                input.splice(to..to, copy);
            }
            5 => input.truncate(at),
            6 if at < until => {
                let token = TOKENS[self.under(TOKENS.len())];
                input.splice(at..until, token.iter().copied());
            }
            _ => {
                let other = &seeds[self.under(seeds.len())];
                let from = self.under(other.len() + 1);
                let piece = other[from..(from + self.under(64)).min(other.len())].to_vec();
                input.splice(at..at, piece);
            }
        }
    }
}
