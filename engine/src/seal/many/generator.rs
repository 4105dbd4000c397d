//! Fixed points with tables of their multiples: what a client multiplies by its secrets.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::{RistrettoBasepointTable, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use super::{Form, Point, Way, prepared};
#[cfg(target_arch = "x86_64")]
use crate::curve::{fixed::FixedTable, lanes::Ifma};

/// A fixed point with a table of its multiples (30 KiB).
pub(in crate::seal) struct Generator {
    /// In the form that the best way takes.
    point: Point,
    /// In the library's, which takes it where there are few points.
    library: RistrettoPoint,
    table: Table,
}

enum Table {
    /// That of g, which the library brings along.
    LibraryBase,
    Library(Box<RistrettoBasepointTable>),
    #[cfg(target_arch = "x86_64")]
    Lanes(Ifma, FixedTable),
}

impl Generator {
    /// g.
    pub(in crate::seal) fn base() -> Self {
        Self::base_by(Way::best())
    }

    /// Of a point that is not the identity.
    pub(in crate::seal) fn new(point: RistrettoPoint) -> Self {
        Self::by(Way::best(), point)
    }

    pub(super) fn base_by(way: Way) -> Self {
        match way {
            Way::Library => Self {
                point: prepared(RISTRETTO_BASEPOINT_POINT),
                library: RISTRETTO_BASEPOINT_POINT,
                table: Table::LibraryBase,
            },
            #[cfg(target_arch = "x86_64")]
            Way::Lanes(_) => Self::by(way, RISTRETTO_BASEPOINT_POINT),
        }
    }

    pub(super) fn by(way: Way, point: RistrettoPoint) -> Self {
        let prepared = prepared(point);
        let table = match way {
            Way::Library => Table::Library(Box::new(RistrettoBasepointTable::create(&point))),
            #[cfg(target_arch = "x86_64")]
            Way::Lanes(ifma) => Table::Lanes(ifma, super::lanes::table(ifma, &prepared)),
        };
        Self {
            point: prepared,
            library: point,
            table,
        }
    }

    /// For a sum done this way.
    pub(in crate::seal) const fn point_for(&self, way: Way) -> Point {
        match way {
            Way::Library => Point {
                encoding: self.point.encoding,
                form: Form::Library(self.library),
            },
            #[cfg(target_arch = "x86_64")]
            Way::Lanes(_) => self.point,
        }
    }

    /// As the library has it.
    #[cfg(any(test, feature = "sim"))]
    pub(in crate::seal) const fn library(&self) -> &RistrettoPoint {
        &self.library
    }

    /// `scalar` times this point, in constant time; by the library, for which alone there is no table if lanes have one.
    fn times(&self, scalar: &Scalar) -> RistrettoPoint {
        match &self.table {
            Table::LibraryBase => RistrettoPoint::mul_base(scalar),
            Table::Library(table) => &**table * scalar,
            #[cfg(target_arch = "x86_64")]
            Table::Lanes(..) => self.library * scalar,
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn in_lanes(&self) -> Option<(Ifma, &FixedTable)> {
        match &self.table {
            Table::Lanes(ifma, table) => Some((*ifma, table)),
            Table::LibraryBase | Table::Library(_) => None,
        }
    }
}

/// The encodings of 2 times point times scalar for each of `terms`, in their order and in constant time.
///
/// All together, with one inversion. Where lanes do it, terms of one point should stand side by side.
pub(in crate::seal) fn double_fixed_products(
    terms: &[(&Generator, &Scalar)],
) -> Zeroizing<Vec<[u8; 32]>> {
    #[cfg(target_arch = "x86_64")]
    {
        let in_lanes = terms.iter().map(|(generator, scalar)| {
            let (ifma, table) = generator.in_lanes()?;
            Some((ifma, (table, scalar.as_bytes())))
        });
        let in_lanes: Option<(Vec<Ifma>, Vec<_>)> = in_lanes.collect();
        if let Some(([ifma, ..], terms)) = in_lanes.as_ref().map(|(i, t)| (i.as_slice(), t)) {
            return super::lanes::double_fixed_products(*ifma, terms);
        }
    }
    let halves = terms
        .iter()
        .map(|(generator, scalar)| generator.times(scalar));
    let halves: Zeroizing<Vec<RistrettoPoint>> = Zeroizing::new(halves.collect());
    let encodings = RistrettoPoint::double_and_compress_batch(halves.iter());
    let encodings = Zeroizing::new(encodings);
    Zeroizing::new(encodings.iter().map(|e| e.to_bytes()).collect())
}
