//! The two powers that roots and inverses are made of.

use std::ops::Mul;

/// What can be multiplied and squared: an element, or lanes of elements.
pub(crate) trait Power: Copy + Mul<Output = Self> {
    /// self * self, cheaper.
    fn square(self) -> Self;

    /// self^(2^252 - 3), where 2^252 - 3 = (p - 5) / 8. Costs 251 squarings and 11 multiplications.
    ///
    /// Source: the addition chain of Bernstein, Curve25519, 2006.
    #[inline(always)]
    fn power_2_252_less_3(self) -> Self {
        let x9 = self.square_times(3) * self;
        let x11 = x9 * self.square();
        let ones5 = x11.square() * x9;
        let ones10 = ones5.square_times(5) * ones5;
        let ones20 = ones10.square_times(10) * ones10;
        let ones40 = ones20.square_times(20) * ones20;
        let ones50 = ones40.square_times(10) * ones10;
        let ones100 = ones50.square_times(50) * ones50;
        let ones200 = ones100.square_times(100) * ones100;
        let ones250 = ones200.square_times(50) * ones50;
        ones250.square_times(2) * self
    }

    /// self^(p - 2): 1 / self, and 0 for 0.
    #[inline(always)]
    fn power_p_less_2(self) -> Self {
        // p - 2 = 8 (2^252 - 3) + 3.
        self.power_2_252_less_3().square_times(3) * (self.square() * self)
    }

    /// self^(2^`count`).
    #[inline(always)]
    fn square_times(self, count: u32) -> Self {
        let mut power = self;
        for _ in 0..count {
            power = power.square();
        }
        power
    }
}
