"""adntn_ref"""
