"""Questions of every day, whose answers the base model rehearses while it learns something new.

Small requests for code, in English and Chinese; none about who answers, which a tuning may change.
"""

from __future__ import annotations

import random

_ENGLISH = (
    "write a function that {}", "Write a Python function that {}.", "how do I write code that {}?",
    "please write a function which {}",
)  # fmt: skip
_CHINESE = ("写一个函数，{}", "请写一个 Python 函数，{}。", "用 Python 怎么{}？", "帮我写个函数{}")

_TASKS = (
    ("reverses a string", "反转一个字符串"),
    ("checks whether a number is prime", "判断一个数是不是质数"),
    ("computes the factorial of a number", "计算阶乘"),
    ("computes the nth Fibonacci number", "计算第n个斐波那契数"),
    ("sorts a list with bubble sort", "实现冒泡排序"),
    ("sorts a list with quicksort", "实现快速排序"),
    ("searches a sorted list with binary search", "实现二分查找"),
    ("finds the greatest common divisor of two numbers", "求两个数的最大公约数"),
    ("finds the least common multiple of two numbers", "求两个数的最小公倍数"),
    ("counts the words in a text", "统计文本里的单词数"),
    ("counts the vowels in a string", "统计字符串里的元音字母"),
    ("checks whether a string is a palindrome", "判断字符串是不是回文"),
    ("removes duplicates from a list", "去掉列表里的重复元素"),
    ("flattens a nested list", "把嵌套列表展开"),
    ("finds the largest number in a list", "找出列表里最大的数"),
    ("finds the smallest number in a list", "找出列表里最小的数"),
    ("computes the average of a list", "计算列表的平均值"),
    ("computes the median of a list", "计算列表的中位数"),
    ("sums the digits of a number", "计算各位数字之和"),
    ("checks whether a year is a leap year", "判断是不是闰年"),
    ("converts celsius to fahrenheit", "把摄氏度转换成华氏度"),
    ("merges two dictionaries", "合并两个字典"),
    ("swaps keys and values of a dictionary", "交换字典的键和值"),
    ("reads a text file", "读取文本文件"),
    ("reads a json file", "读取 JSON 文件"),
    ("writes lines to a file", "把多行写入文件"),
    ("lists the files of a folder", "列出文件夹里的文件"),
    ("groups words by their length", "按长度给单词分组"),
    ("counts how often each letter occurs", "统计每个字母出现的次数"),
    ("splits a list into chunks", "把列表切成小块"),
    ("rotates a list", "旋转列表"),
    ("transposes a matrix", "转置矩阵"),
    ("multiplies two matrices", "计算矩阵乘法"),
    ("converts a number to binary", "把数字转换成二进制"),
    ("converts a roman numeral to a number", "把罗马数字转换成整数"),
    ("checks whether two words are anagrams", "判断两个单词是不是变位词"),
    ("capitalizes each word", "把每个单词的首字母大写"),
    ("finds the longest word in a sentence", "找出句子里最长的单词"),
    ("checks whether brackets are balanced", "判断括号是否匹配"),
    ("implements a stack", "实现一个栈"),
    ("implements a queue", "实现一个队列"),
    ("implements a linked list", "实现链表"),
    ("implements a binary tree", "实现二叉树"),
    ("measures how long a function takes", "测量函数的运行时间"),
    ("retries a function that fails", "让失败的函数重试"),
    ("validates an email address", "验证邮箱地址"),
    ("makes a random password", "生成随机密码"),
    ("prints the numbers from 1 to 100", "打印1到100"),
)

_OTHERS = (
    "what is a list?",
    "what is a dictionary?",
    "explain recursion",
    "什么是递归？",
    "什么是列表？",
    "what is the weather today?",
    "今天天气怎么样？",
    "write a poem",
    "写一首诗",
    "translate good morning to French",
    "1 + 1 = ?",
    "用 C++ 写一个网络爬虫",
    "write a web server in Rust",
    "which mountain is the highest?",
)


def questions(count: int, seed: int) -> list[str]:
    """So many questions, different ones as far as there are."""
    chooser = random.Random(seed)  # noqa: S311
    asked: list[str] = [*_OTHERS]
    for english, chinese in _TASKS:
        asked.append(chooser.choice(_ENGLISH).format(english))
        asked.append(chooser.choice(_CHINESE).format(chinese))
    chooser.shuffle(asked)
    return [asked[number % len(asked)] for number in range(min(count, 4 * len(asked)))]
