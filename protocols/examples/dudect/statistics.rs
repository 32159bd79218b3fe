//! Welch's t-test on two classes of times, whole and cropped.

/// How many crops are tested besides the whole.
const CROPS: usize = 100;
/// Times of one class that a test needs before its t counts.
const ENOUGH: f64 = 500.0;

/// Number, mean and squared deviations of two classes, updated by Welford's method.
#[derive(Clone, Copy, Default)]
struct Welch {
    classes: [(f64, f64, f64); 2],
}

impl Welch {
    fn push(&mut self, fixed: bool, time: f64) {
        let (count, mean, squares) = &mut self.classes[usize::from(fixed)];
        *count += 1.0;
        let delta = time - *mean;
        *mean += delta / *count;
        *squares += delta * (time - *mean);
    }

    fn mean(&self, fixed: bool) -> f64 {
        self.classes[usize::from(fixed)].1
    }

    /// Welch's t; 0 while a class has too few times to tell.
    fn t(&self) -> f64 {
        let [(n, mean, squares), (m, other_mean, other_squares)] = self.classes;
        if n.min(m) < ENOUGH {
            return 0.0;
        }
        let error = (squares / (n - 1.0) / n + other_squares / (m - 1.0) / m).sqrt();
        if error > 0.0 { (mean - other_mean) / error } else { 0.0 }
    }
}

/// The tests of one operation: first order on all times and on those below each of 100 percentiles, because
/// interrupts spread the upper times, and second order on all.
pub(crate) struct Tests {
    limits: Vec<f64>,
    whole: Welch,
    cropped: Vec<Welch>,
    squared: Welch,
    measured: usize,
}

impl Tests {
    /// The percentiles come from times that are not tested themselves.
    pub(crate) fn calibrated(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let limit = |i: usize| {
            let share = 1.0 - 0.5_f64.powf(10.0 * (i + 1) as f64 / CROPS as f64);
            times[(share * times.len() as f64) as usize]
        };
        Self {
            limits: (0..CROPS).map(limit).collect(),
            whole: Welch::default(),
            cropped: vec![Welch::default(); CROPS],
            squared: Welch::default(),
            measured: 0,
        }
    }

    pub(crate) fn push(&mut self, fixed: bool, time: f64) {
        self.measured += 1;
        self.whole.push(fixed, time);
        for (limit, test) in self.limits.iter().zip(&mut self.cropped) {
            if time < *limit {
                test.push(fixed, time);
            }
        }
        // The mean is only known well after some times.
        if self.measured > 2 * ENOUGH as usize {
            let deviation = time - self.whole.mean(fixed);
            self.squared.push(fixed, deviation * deviation);
        }
    }

    pub(crate) const fn measured(&self) -> usize {
        self.measured
    }

    /// t of all times.
    pub(crate) fn whole(&self) -> f64 {
        self.whole.t()
    }

    /// The largest |t| of all tests.
    pub(crate) fn largest(&self) -> f64 {
        let tests = self.cropped.iter().chain([&self.whole, &self.squared]);
        tests.map(|test| test.t().abs()).fold(0.0, f64::max)
    }
}
