//! Fixed points with tables of their multiples: what a client multiplies by its secrets.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::{RistrettoBasepointTable, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use super::{Form, Point, Way, prepared};
#[cfg(target_arch = "x86_64")]
use crate::curve::{avx2::Avx2, fixed::FixedTable, ifma::Ifma, lanes::Machine};

/// A fixed point with a table of its multiples (30 KiB).
pub(crate) struct Generator {
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
    Ifma(Ifma, FixedTable<Ifma>),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2, FixedTable<Avx2>),
}

impl Generator {
    /// g.
    pub(in crate::seal) fn base() -> Self {
        Self::base_by(Way::best())
    }

    /// Of a point that is not the identity.
    pub(crate) fn new(point: RistrettoPoint) -> Self {
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
            Way::Ifma(_) | Way::Avx2(_) => Self::by(way, RISTRETTO_BASEPOINT_POINT),
        }
    }

    pub(super) fn by(way: Way, point: RistrettoPoint) -> Self {
        let prepared = prepared(point);
        let table = match way {
            Way::Library => Table::Library(Box::new(RistrettoBasepointTable::create(&point))),
            #[cfg(target_arch = "x86_64")]
            Way::Ifma(ifma) => Table::Ifma(ifma, super::lanes::table(ifma, &prepared)),
            #[cfg(target_arch = "x86_64")]
            Way::Avx2(avx2) => Table::Avx2(avx2, super::lanes::table(avx2, &prepared)),
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
            Way::Ifma(_) | Way::Avx2(_) => self.point,
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
            Table::Ifma(..) | Table::Avx2(..) => self.library * scalar,
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn on_ifma(&self) -> Option<(Ifma, &FixedTable<Ifma>)> {
        match &self.table {
            Table::Ifma(ifma, table) => Some((*ifma, table)),
            Table::Avx2(..) | Table::LibraryBase | Table::Library(_) => None,
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn on_avx2(&self) -> Option<(Avx2, &FixedTable<Avx2>)> {
        match &self.table {
            Table::Avx2(avx2, table) => Some((*avx2, table)),
            Table::Ifma(..) | Table::LibraryBase | Table::Library(_) => None,
        }
    }
}

/// The encodings of 2 times point times scalar for each of `terms`, in their order and in constant time.
///
/// All together, with one inversion. Where lanes do it, terms of one point should stand side by side.
pub(crate) fn double_fixed_products(terms: &[(&Generator, &Scalar)]) -> Zeroizing<Vec<[u8; 32]>> {
    #[cfg(target_arch = "x86_64")]
    {
        let in_lanes = by_tables(terms, Generator::on_ifma);
        if let Some(encodings) = in_lanes.or_else(|| by_tables(terms, Generator::on_avx2)) {
            return encodings;
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

/// If `table` finds tables of one kind for all.
#[cfg(target_arch = "x86_64")]
fn by_tables<M: Machine>(
    terms: &[(&Generator, &Scalar)],
    table: impl Fn(&Generator) -> Option<(M, &FixedTable<M>)>,
) -> Option<Zeroizing<Vec<[u8; 32]>>> {
    let in_lanes = terms.iter().map(|(generator, scalar)| {
        let (machine, table) = table(generator)?;
        Some((machine, (table, scalar.as_bytes())))
    });
    let (machines, terms): (Vec<M>, Vec<_>) = in_lanes.collect::<Option<_>>()?;
    let machine = machines.first()?;
    Some(super::lanes::double_fixed_products(*machine, &terms))
}
