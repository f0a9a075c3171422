// A brick-wall in C++17 without libraries, to be verified against adntn_ref:
//
//     g++ -std=c++17 -O2 -o candidate candidate.cpp
//     python -m adntn_ref.validation --command ./candidate
//
// One argument: the path of a request (docs/protocol.md). Exit code 0: done; 3: not supported; other: failed.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

struct Unsupported : std::runtime_error { using std::runtime_error::runtime_error; };

// ---- JSON: what a request needs of it ----------------------------------------------------------------------------
struct Json {
    std::string text;  // a string; numbers, true, false and null as they are written
    std::vector<Json> list;
    std::map<std::string, Json> object;
    const Json& at(const std::string& key) const { return object.at(key); }
    bool has(const std::string& key) const { return object.count(key) > 0; }
};

struct Parser {
    const std::string& s;
    size_t i = 0;
    char peek() { while (i < s.size() && std::isspace((unsigned char)s[i])) ++i; return s.at(i); }
    void expect(char c) { if (peek() != c) throw std::runtime_error("bad JSON"); ++i; }
    std::string string() {
        expect('"');
        std::string out;
        for (; s.at(i) != '"'; ++i) {
            if (s[i] == '\\' && s.at(++i) == 'u') out += '\\';  // \uXXXX is kept as it is written, as part of a name
            out += s.at(i);
        }
        ++i;
        return out;
    }
    Json value() {
        Json v;
        char c = peek();
        if (c == '"') {
            v.text = string();
        } else if (c == '[' || c == '{') {
            for (++i; peek() != (c == '[' ? ']' : '}');) {
                if (c == '[') v.list.push_back(value());
                else { std::string key = string(); expect(':'); v.object[key] = value(); }
                if (peek() == ',') { ++i; peek(); }
            }
            ++i;
        } else {
            while (i < s.size() && !std::strchr(",]} \n", s[i])) v.text += s[i++];
        }
        return v;
    }
};

// ---- .npy: 8 bytes of magic and version, the header's length, the header (a Python dict), the numbers -------------
using Vector = std::vector<double>;
struct Array { std::vector<long> shape; Vector data; };

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path);
    return std::string(std::istreambuf_iterator<char>(file), {});
}

Array read_npy(const std::string& path) {
    std::string s = read_file(path);
    if (s.compare(0, 6, "\x93NUMPY") != 0) throw std::runtime_error(path + " is no .npy file");
    size_t length = (unsigned char)s.at(8) | (unsigned char)s.at(9) << 8;  // version 1: two bytes, least first
    std::string header = s.substr(10, length);
    if (header.find("'<f8'") == std::string::npos) throw Unsupported("only double precision");
    Array a;
    std::istringstream numbers(header.substr(header.find('(', header.find("shape")) + 1));
    long count = 1, d;
    for (char comma; numbers >> d; numbers >> comma) { a.shape.push_back(d); count *= d; }
    a.data.resize(count);
    if (s.size() < 10 + length + 8 * count) throw std::runtime_error(path + " is cut short");
    std::memcpy(a.data.data(), s.data() + 10 + length, 8 * count);  // on a machine that holds the least byte first
    return a;
}

void write_npy(const std::string& path, const Array& a) {
    std::string shape;
    for (long d : a.shape) shape += std::to_string(d) + ",";
    std::string header = "{'descr': '<f8', 'fortran_order': False, 'shape': (" + shape + "), }";
    header.append((64 - (10 + header.size() + 1) % 64) % 64, ' ');
    header += '\n';
    std::ofstream file(path, std::ios::binary);
    file << std::string("\x93NUMPY\x01\x00", 8) << char(header.size() & 255) << char(header.size() >> 8) << header;
    file.write(reinterpret_cast<const char*>(a.data.data()), 8 * a.data.size());
    if (!file) throw std::runtime_error("cannot write " + path);
}

// ---- activations: name -> sigma and its derivative ----------------------------------------------------------------
using Function = double (*)(double);
double logistic(double z) { return 1 / (1 + std::exp(-z)); }
double Phi(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }
double phi(double z) { return std::exp(-z * z / 2) / std::sqrt(2 * std::acos(-1.0)); }
const std::map<std::string, std::pair<Function, Function>> activations = {
    {"identity", {[](double z) { return z; }, [](double) { return 1.0; }}},
    {"relu", {[](double z) { return z > 0 ? z : 0.0; }, [](double z) { return z > 0 ? 1.0 : 0.0; }}},
    {"leaky_relu", {[](double z) { return z > 0 ? z : 0.01 * z; }, [](double z) { return z > 0 ? 1.0 : 0.01; }}},
    {"tanh", {[](double z) { return std::tanh(z); }, [](double z) { double t = std::tanh(z); return 1 - t * t; }}},
    {"sigmoid", {logistic, [](double z) { return logistic(z) * (1 - logistic(z)); }}},
    {"gelu", {[](double z) { return z * Phi(z); }, [](double z) { return Phi(z) + z * phi(z); }}},
    {"silu", {[](double z) { return z * logistic(z); },
              [](double z) { double s = logistic(z); return s + z * s * (1 - s); }}},
    {"sin", {[](double z) { return std::sin(z); }, [](double z) { return std::cos(z); }}},
};

// ---- the network ---------------------------------------------------------------------------------------------------
using Cores = std::map<std::string, Array>;

struct Brickwall {
    std::vector<long> modes;
    long layers;
    bool trainable, every_column;
    std::pair<Function, Function> sigma;

    struct Step { std::string core; size_t q; Vector input; };  // core "": an activation

    explicit Brickwall(const Json& spec) {
        if (spec.at("network").text != "brickwall" || !spec.has("modes")) throw Unsupported("only flat brick-walls");
        for (const Json& d : spec.at("modes").list) modes.push_back(std::stol(d.text));
        layers = std::stol(spec.at("layers").text);
        trainable = spec.at("boundary").text == "trainable";
        every_column = spec.has("activation_every") && spec.at("activation_every").text == "column";
        sigma = activations.at(spec.at("activation").text);
    }

    // A brick as a matrix, outputs x inputs; with constant start vectors the first ones are stored as their column 0.
    Vector matrix(const Array& core, long mn) const {
        if (core.shape.size() == 4) return core.data;
        Vector full(mn * mn, 0.0);
        for (long o = 0; o < mn; ++o) full[o * mn] = core.data[o];
        return full;
    }

    // Calls f(o, i) for all pairs of an output's and an input's place in the state that a brick joins, with the entry
    // of the brick: both places differ only in the modes q and q + 1.
    template <class F> void joined(size_t q, size_t size, F f) const {
        long mn = modes[q] * modes[q + 1], right = 1;
        for (size_t k = q + 2; k < modes.size(); ++k) right *= modes[k];
        for (size_t left = 0; left < size / (mn * right); ++left)
            for (long o = 0; o < mn; ++o)
                for (long i = 0; i < mn; ++i)
                    for (long r = 0; r < right; ++r)
                        f((left * mn + o) * right + r, (left * mn + i) * right + r, o * mn + i);
    }

    // The outer product of the start vectors, of all modes but one if that is asked for.
    Vector start(const Cores& cores, size_t except) const {
        Vector x = {1.0};
        for (size_t q = 0; q < modes.size(); ++q) {
            Vector v(modes[q], q == except ? 1.0 : 0.0);
            if (q != except && trainable) v = cores.at("start" + std::to_string(q)).data;
            else if (q != except) v[0] = 1;
            Vector y;
            for (double a : x) for (double b : v) y.push_back(a * b);
            x = y;
        }
        return x;
    }

    Vector forward(const Cores& cores, std::vector<Step>& done) const {
        Vector x = start(cores, modes.size());
        size_t sides = modes.size() > 2 ? 2 : 1;
        for (long m = 0; m < layers; ++m)
            for (size_t side = 0; side < sides; ++side) {
                for (size_t q = side; q + 1 < modes.size(); q += 2) {
                    std::string name = "layer" + std::to_string(m) + ".brick" + std::to_string(q);
                    done.push_back({name, q, x});
                    Vector A = matrix(cores.at(name), modes[q] * modes[q + 1]), y(x.size(), 0.0);
                    joined(q, x.size(), [&](size_t out, size_t in, long a) { y[out] += A[a] * x[in]; });
                    x = y;
                }
                bool last_side = side + 1 == sides, last = last_side && m + 1 == layers;
                if (last || !(last_side || every_column)) continue;
                done.push_back({"", 0, x});
                for (double& z : x) z = sigma.first(z);
            }
        return x;
    }

    Cores backward(const Cores& cores, const std::vector<Step>& done, Vector g) const {
        Cores gradient;
        for (auto step = done.rbegin(); step != done.rend(); ++step) {
            for (size_t k = 0; step->core.empty() && k < g.size(); ++k) g[k] *= sigma.second(step->input[k]);
            if (step->core.empty()) continue;
            const Array& core = cores.at(step->core);
            long mn = modes[step->q] * modes[step->q + 1];
            Vector A = matrix(core, mn), dA(mn * mn, 0.0), before(g.size(), 0.0);
            joined(step->q, g.size(), [&](size_t out, size_t in, long a) {
                before[in] += A[a] * g[out];
                dA[a] += g[out] * step->input[in];
            });
            if (core.shape.size() == 2) for (long o = 0; o < mn; ++o) dA[o] = dA[o * mn];
            dA.resize(core.data.size());
            gradient[step->core] = {core.shape, dA};
            g = before;
        }
        for (size_t q = 0; trainable && q < modes.size(); ++q) {
            Vector rest = start(cores, q), dv(modes[q], 0.0);
            size_t right = 1;
            for (size_t k = q + 1; k < modes.size(); ++k) right *= modes[k];
            for (size_t k = 0; k < g.size(); ++k) dv[k / right % modes[q]] += g[k] * rest[k];
            gradient["start" + std::to_string(q)] = {{modes[q]}, dv};
        }
        return gradient;
    }
};

void answer(const std::string& path) {
    std::string text = read_file(path), folder = path.substr(0, path.find_last_of("/\\") + 1);
    Json request = Parser{text}.value();
    Brickwall net(request.at("spec"));
    Cores cores;
    for (const auto& [name, file] : request.at("params").object) cores[name] = read_npy(folder + file.text);
    Array cotangent = read_npy(folder + request.at("cotangent").text);

    std::vector<Brickwall::Step> done;
    Vector tensor = net.forward(cores, done), g(tensor.size(), 0.0);
    std::copy(cotangent.data.begin(), cotangent.data.end(), g.begin());  // the padding has the cotangent 0
    Cores gradient = net.backward(cores, done, g);

    tensor.resize(cotangent.data.size());  // the first N entries are the weight
    write_npy(folder + request.at("weight").text, {cotangent.shape, tensor});
    for (const auto& [name, file] : request.at("gradient").object) write_npy(folder + file.text, gradient.at(name));
}

int main(int count, char** arguments) {
    try {
        if (count != 2) throw std::runtime_error("one argument, the path of a request");
        answer(arguments[1]);
        return 0;
    }
    catch (const Unsupported&) { return 3; }
    catch (const std::exception& error) { std::cerr << error.what() << std::endl; }
    return 1;
}
