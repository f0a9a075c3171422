// Reads the vectors without any library, and checks one column of bricks against them.
//
//     g++ -std=c++17 -O2 read_vectors.cpp -o read_vectors && ./read_vectors path/to/arrays.npz
//
// An npz file is a zip of .npy files; here nothing in it is compressed, so reading it is following offsets.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

struct Array {
  std::vector<std::size_t> shape;
  std::vector<double> data;  // C order: the last index runs fastest
};

template <typename Number>
Number read(const std::string& bytes, std::size_t at) {  // the file is little-endian, and so is this machine
  if (at + sizeof(Number) > bytes.size()) throw std::runtime_error("the file is truncated");
  Number number;
  std::memcpy(&number, bytes.data() + at, sizeof(Number));
  return number;
}

Array parse_npy(const std::string& npy) {  // magic, version 1.0, length of the header, header, numbers
  if (npy.compare(0, 8, std::string("\x93NUMPY\x01\x00", 8)) != 0) throw std::runtime_error("no .npy file");
  const std::size_t length = read<std::uint16_t>(npy, 8);
  const std::string header = npy.substr(10, length);
  if (header.find("'descr': '<f8'") == std::string::npos) throw std::runtime_error("not float64");
  Array array;
  std::size_t count = 1;
  const std::size_t open = header.find('(', header.find("'shape'"));
  for (const char* c = header.c_str() + open + 1; *c != ')';) {
    char* end;
    const std::size_t size = std::strtoul(c, &end, 10);
    if (end == c) {
      ++c;  // a comma or a blank
      continue;
    }
    array.shape.push_back(size);
    count *= size;
    c = end;
  }
  array.data.resize(count);
  if (10 + length + 8 * count != npy.size()) throw std::runtime_error("a .npy file of another length");
  std::memcpy(array.data.data(), npy.data() + 10 + length, 8 * count);
  return array;
}

std::map<std::string, std::string> members(const std::string& zip) {  // from the directory at the end of the file
  const std::size_t end = zip.rfind(std::string("PK\x05\x06", 4));
  if (end == std::string::npos) throw std::runtime_error("no zip file");
  std::map<std::string, std::string> found;
  std::size_t at = read<std::uint32_t>(zip, end + 16);
  for (int left = read<std::uint16_t>(zip, end + 10); left > 0; --left) {
    const std::size_t size = read<std::uint32_t>(zip, at + 24), name = read<std::uint16_t>(zip, at + 28);
    const std::size_t local = read<std::uint32_t>(zip, at + 42);
    if (read<std::uint16_t>(zip, at + 10) != 0) throw std::runtime_error("a compressed member");
    const std::size_t data = local + 30 + read<std::uint16_t>(zip, local + 26) + read<std::uint16_t>(zip, local + 28);
    found[zip.substr(at + 46, name)] = zip.substr(data, size);
    at += 46 + name + read<std::uint16_t>(zip, at + 30) + read<std::uint16_t>(zip, at + 32);
  }
  return found;
}

// Y[.., a, b, ..] = sum_{c,e} A[a, b, c, e] X[.., c, e, ..] on the indices q and q + 1
Array mix(const Array& core, const Array& x, std::size_t q) {
  const std::size_t m = core.shape[0], n = core.shape[1];
  std::size_t before = 1, after = 1;
  for (std::size_t k = 0; k < q; ++k) before *= x.shape[k];
  for (std::size_t k = q + 2; k < x.shape.size(); ++k) after *= x.shape[k];
  Array y{x.shape, std::vector<double>(x.data.size(), 0.0)};
  for (std::size_t i = 0; i < before; ++i)
    for (std::size_t ab = 0; ab < m * n; ++ab)
      for (std::size_t ce = 0; ce < m * n; ++ce)
        for (std::size_t j = 0; j < after; ++j)
          y.data[(i * m * n + ab) * after + j] += core.data[ab * m * n + ce] * x.data[(i * m * n + ce) * after + j];
  return y;
}

int main(int count, char** arguments) try {
  std::ifstream file(count > 1 ? arguments[1] : "arrays.npz", std::ios::binary);
  const std::string zip((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto found = members(zip);
  const auto array = [&](const std::string& name) {
    return parse_npy(found.at("brickwall/odd-q5-tanh/" + name + ".npy"));
  };
  Array x = array("state/layer0.even");
  for (const std::size_t q : {1, 3}) x = mix(array("params/layer0.brick" + std::to_string(q)), x, q);
  const Array expected = array("state/layer0.odd");
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < expected.data.size(); ++i) {
    worst = std::max(worst, std::abs(x.data[i] - expected.data[i]));
    largest = std::max(largest, std::abs(expected.data[i]));
  }
  std::printf("%zu arrays; state/layer0.odd: worst error %.1e of the largest entry\n", found.size(), worst / largest);
  return worst <= 1e-12 * largest ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 2;
}
