// Steps of training. A step is three jobs: the backward pass, sum_gradients, and descend, with the equations of SGD and
// Adam in torch.optim. The latter two take pieces of a weight. The norm for clipping is summed over pieces in their
// order, so that results do not depend on the number of threads. With a scale, a step is left out whose scaled gradient
// overflows float16, as torch.amp.GradScaler leaves it out. ``fields.py`` describes the structures.

enum { SGD = 1, ADAM };
#define MOST_OF_HALF 65504.0  // the largest number of float16
enum { INTERVAL = 2000 };     // good steps after which the scale doubles

// Sum the gradients over items, in their order, into the first; note each piece's sum of squares and largest number.
static void sum_gradients(void *address) {
    Training *const training = address;
    const Call *const call = training->call;
    const Settings *const s = training->settings;
    for (Index k; (k = fetch_add(&training->counter, 1)) < training->pieces;) {
        const Piece *const piece = training->table + k;
        const Index count = piece->count;
        Compute *const total = call->sums + piece->at;
        double squares = 0, largest = 0;
        for (Index item = 1; item < call->items; item++) add(total + item * call->sum_size, total, count);
        for (Index m = 0; piece->sigmoid && m < count; m++)
            total[m] = total[m] * (1 - piece->sigmoid[m]) * piece->sigmoid[m];
        if (s->most_norm < __builtin_inf())
            for (Index m = 0; m < count; m++) squares += total[m] * total[m];
        if (s->scale > 0)
            for (Index m = 0; m < count; m++) {
                const double size = MATH(fabs)(total[m]);
                largest = size > largest || size != size ? size : largest;  // NaN stays
            }
        training->notes[k] = (Note){squares, largest};
    }
}

// Change the weights; note NaN for each piece that is no longer finite.
static void descend(void *address) {
    Training *const training = address;
    const Settings *const s = training->settings;
    const Compute decay = s->decay, factor = s->factor, keep_1 = s->beta_1, keep_2 = s->beta_2, epsilon = s->epsilon;
    const Compute new_1 = 1 - s->beta_1, new_2 = 1 - s->beta_2;
    const int is_adam = training->optimizer == ADAM;
    const Compute rate = is_adam ? s->learning_rate / (1 - __builtin_pow(s->beta_1, s->taken)) : s->learning_rate;
    const Compute root = is_adam ? __builtin_sqrt(1 - __builtin_pow(s->beta_2, s->taken)) : 1;
    // The last piece is no weight's.
    for (Index k; (k = fetch_add(&training->counter, 1)) < training->pieces - 1;) {
        const Piece *const piece = training->table + k;
        const Index count = piece->count;
        Compute *restrict const weight = piece->weight, *restrict const first = piece->first;
        Compute *restrict const second = piece->second, *restrict const gradient = training->call->sums + piece->at;
        Compute bad = 0;
        if (s->factor < 1)
            for (Index m = 0; m < count; m++) gradient[m] *= factor;
        for (Index m = 0; m < count; m++) gradient[m] += decay * weight[m];
        if (is_adam) {
            for (Index m = 0; m < count; m++) {
                const Compute g = gradient[m];
                first[m] += new_1 * (g - first[m]);
                second[m] = keep_2 * second[m] + new_2 * g * g;
                weight[m] -= rate * first[m] / (MATH(sqrt)(second[m]) / root + epsilon);
            }
        } else {
            if (first)
                for (Index m = 0; m < count; m++) gradient[m] = first[m] = keep_1 * first[m] + gradient[m];
            for (Index m = 0; m < count; m++) weight[m] -= rate * gradient[m];
        }
        for (Index m = 0; m < count; m++) bad += weight[m] - weight[m];
        for (Index m = 0; piece->sigmoid && m < count; m++) piece->sigmoid[m] = 1 / (1 + MATH(exp)(-weight[m]));
        training->notes[k].squares = bad;
    }
}

// Say whether a scaled gradient overflows float16, and change the scale: half of it, or twice after good steps.
static int overflows(Settings *s, const Note *notes, Index count) {
    if (s->scale == 0) return 0;
    int is_good = 1;
    for (Index k = 0; k < count; k++) is_good = is_good && notes[k].largest * s->scale <= MOST_OF_HALF;
    s->good = is_good ? s->good + 1 : 0;
    if (!is_good) s->scale *= 0.5;
    else if (s->good == INTERVAL) s->scale *= 2, s->good = 0;
    return !is_good;
}

static double sum_of_squares(const Training *training) {
    double sum = 0;
    for (Index k = 0; k < training->pieces - 1; k++) sum += training->notes[k].squares;
    return sum;
}

// Take one step after the other, each with the next samples of the index.
void take_steps(Job *job, Training *training, Index helpers) {
    Call *const call = training->call;
    Settings *const s = training->settings;
    const Index last = call->sum_size;
    const Index few = last > 2 * training->piece ? helpers : 0;  // how many share what is not the scan
    for (Index k = 0; k < training->steps; k++) {
        Record *const record = training->record + k;
        call->counter = call->threads = training->counter = 0;
        pack_weights(call);
        share(job, take_back, call, helpers);
        share(job, sum_gradients, training, few);
        *record = (Record){call->sums[last - 2] / (Compute)call->all, call->sums[last - 1], 0, 0};
        record->skipped = overflows(s, training->notes, training->pieces - 1);
        if (!record->skipped) {
            const double factor = s->most_norm / (__builtin_sqrt(sum_of_squares(training)) + 1e-6);
            s->factor = 1.0 < factor ? 1.0 : factor;
            s->taken += 1;
            training->counter = 0;
            share(job, descend, training, few);
            record->bad = sum_of_squares(training);
        }
        call->index += call->all;
    }
}
