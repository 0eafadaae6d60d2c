use std::io::Write;

use conex_tar::compression::{Encoder, Settings};

use super::*;

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

fn pack(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(
        Settings {
            compression,
            level: Some(1).filter(|_| compression != Compression::None),
            ..Settings::default()
        },
        Vec::new(),
    )
    .unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn inflation(compression: Compression) -> Option<Inflation> {
    Some(Inflation { compression, algorithm: Algorithm::Sha256 })
}

fn noise(length: usize) -> Vec<u8> {
    conex_testkit::images::noise(7, length).to_vec()
}

#[test]
fn size_digest_and_diff_id_are_those_of_the_bytes() {
    for compression in ALL {
        for length in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 20 * BUFFER + 3] {
            let plain = noise(length);
            let packed = pack(compression, &plain);
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                let seen = look(&packed[..], algorithm, u64::MAX, inflation(compression)).unwrap();
                assert_eq!(seen.size, packed.len() as u64);
                assert_eq!(seen.digest, algorithm.digest(&packed));
                assert_eq!(
                    seen.diff_id.unwrap().unwrap(),
                    Digest::sha256(&plain),
                    "{compression} {length}"
                );
            }
            let seen = look(&packed[..], Algorithm::Blake3, u64::MAX, None).unwrap();
            assert_eq!(seen.digest, Algorithm::Blake3.digest(&packed));
            assert!(seen.diff_id.is_none());
        }
    }
}

/// A stream that cannot be inflated still has a digest, whether it ends or not.
#[test]
fn a_corrupt_layer_is_hashed_to_its_end() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let plain = noise(30 * BUFFER);
        let whole = pack(compression, &plain);
        let mut flipped = whole.clone();
        flipped[2000] ^= 0x55;
        let junk = [&whole[..], &noise(20 * BUFFER)].concat();
        for bad in [&flipped, &whole[..whole.len() - 9].to_vec(), &junk] {
            let seen = look(&bad[..], Algorithm::Sha256, u64::MAX, inflation(compression)).unwrap();
            assert_eq!((seen.size, seen.digest), (bad.len() as u64, Digest::sha256(bad)));
            let wrong = seen.diff_id.unwrap();
            assert!(wrong.is_err() || wrong.unwrap() != Digest::sha256(&plain));
        }
    }
}

#[test]
fn another_compression_is_told_apart() {
    for declared in ALL {
        for found in ALL.into_iter().filter(|found| *found != declared) {
            let packed = pack(found, &noise(100_000));
            let seen = look(&packed[..], Algorithm::Sha256, u64::MAX, inflation(declared)).unwrap();
            assert_eq!(seen.digest, Digest::sha256(&packed));
            assert!(
                is_other_compression(&seen.diff_id.unwrap().unwrap_err()),
                "{declared} {found}"
            );
        }
    }
}

#[test]
fn content_without_end_is_read_to_its_limit() {
    for inflation in [None, inflation(Compression::Gzip)] {
        let seen = look(io::repeat(7), Algorithm::Sha256, 1_000_000, inflation).unwrap();
        assert!((1_000_001..2_000_000).contains(&seen.size), "{}", seen.size);
    }
}

#[test]
fn what_cannot_be_read_is_an_error() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(Error::new(Kind::Network, "gone").into())
        }
    }
    for inflation in [None, inflation(Compression::Gzip)] {
        let content = pack(Compression::Gzip, &noise(BUFFER * 3));
        let broken = content.as_slice().chain(Failing);
        let err = look(broken, Algorithm::Sha256, u64::MAX, inflation).unwrap_err();
        assert_eq!(err.kind(), Kind::Network);
    }
}
